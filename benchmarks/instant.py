"""An engine that answers at once: 100 tokens after a tag, as vLLM writes them, made beforehand.

Log-probabilities come with them when they are asked for, which the gateway does and the bare
pass-through does not: what the decision costs is on our side of the comparison.
"""

from __future__ import annotations

from typing import Any

import orjson

OPENING = ["[", "General", "_", "mode", "]", "\n"]
TOKENS = [*OPENING, *(" word" for _ in range(100))]
BREAK = 198
TAGS = {
    "[General_mode]\n": [75, 12522, 79, 9368, 77, BREAK],
    "[Personalized_mode]\n": [75, 26341, 1005, 79, 9368, 77, BREAK],
}
IDS = {"\n": [BREAK], **TAGS, **{f"\n{tag}": [BREAK, *ids] for tag, ids in TAGS.items()}}
"""All that the gateway has tokenized when it starts: its anchor, and each tag with and without."""
ENVELOPE = {"id": "chatcmpl-1", "created": 1, "model": "pocket"}
JSON, SSE = b"application/json", b"text/event-stream"
USAGE = {"prompt_tokens": 200, "completion_tokens": len(TOKENS), "total_tokens": 306}


def top(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def entry(token: str) -> dict[str, Any]:
    rivals = [top("General", -1.0), top("Personal", -2.0)]
    tops = rivals if token == "General" else [top(token, -0.5), *rivals]
    return {**top(token, -0.5), "top_logprobs": tops}


def choice(body: dict[str, Any], finish: str | None, tokens: list[str]) -> dict[str, Any]:
    return {
        "index": 0,
        **body,
        "logprobs": {"content": [entry(token) for token in tokens]} if tokens else None,
        "finish_reason": finish,
        "token_ids": None,
    }


def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
    content = {**ENVELOPE, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + orjson.dumps(content) + b"\n\n"


def answers(has_logprobs: bool) -> tuple[bytes, list[bytes]]:
    tokens = TOKENS if has_logprobs else []
    message = {"message": {"role": "assistant", "content": "".join(TOKENS)}}
    whole = {
        **ENVELOPE,
        "object": "chat.completion",
        "choices": [choice(message, "stop", tokens)],
        "usage": USAGE,
    }
    chunks = [chunk([choice({"delta": {"role": "assistant", "content": ""}}, None, [])])]
    for place, token in enumerate(TOKENS):
        finish = "stop" if place + 1 == len(TOKENS) else None
        shown = [token] if has_logprobs else []
        chunks.append(chunk([choice({"delta": {"content": token}}, finish, shown)]))
    chunks += [chunk([], usage=USAGE), b"data: [DONE]\n\n"]
    return orjson.dumps(whole), chunks


ANSWERS = {asked: answers(asked) for asked in (True, False)}
MODELS = orjson.dumps({"object": "list", "data": [{"id": "pocket", "created": 1, "root": ""}]})
REFUSAL = orjson.dumps({"error": {"message": "personadual_mode", "param": "personadual_mode"}})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["path"]
    if path == "/v1/models":
        await reply(send, 200, JSON, [MODELS])
    elif path == "/tokenize":
        await reply(send, 200, JSON, [orjson.dumps({"tokens": IDS[orjson.loads(raw)["prompt"]]})])
    elif path != "/v1/chat/completions":
        await reply(send, 200, JSON, [b"{}"])
    elif b'"handshake"' in raw:
        await reply(send, 400, JSON, [REFUSAL])
    elif b'"stream":true' in raw:
        await reply(send, 200, SSE, ANSWERS[b'"logprobs":true' in raw][1])
    else:
        await reply(send, 200, JSON, [ANSWERS[b'"logprobs":true' in raw][0]])


async def reply(send: Any, status: int, kind: bytes, parts: list[bytes]) -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def create() -> Any:
    return app
