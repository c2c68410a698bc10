"""An honest fake of vLLM's OpenAI server: the same protocol over HTTP, with a scripted model.

`tests/test_engine_contract.py` asks the same questions of this fake and of the real server. It has
the gate's arguments, log-probabilities of chosen ids, streams, aborts, calls of tools as our
plug-in splits them, counts of reasoning tokens, and the running metric.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from aiohttp import web

from model.decision import Dial
from model.errors import InvalidRequest
from testbed.scripted_reply import IDS, ScriptedReply

MODEL = "pocket"
MAX_LOGPROBS = 20


@dataclass
class Script:
    """How the fake model behaves; tests change it, `reset` undoes that."""

    answer: str = "Cook a stew."
    answer_to: Callable[[dict[str, Any]], str] | None = None  # by the request's body
    logprobs: tuple[float, float] = (-1.0, -2.0)  # general, personalized
    shared_logprob: float = -0.5
    has_gate: bool = True
    delay_s: float = 0.0  # before each token
    status: int = 200
    fail_after: int | None = None  # tokens after which the connection breaks
    hang_after: int | None = None  # tokens after which nothing more comes
    headers_after_s: float = 0.0
    models_after_s: float = 0.0  # how long it takes to say what it serves
    garbage: bytes | None = None  # what comes in place of an answer, or of a stream's tokens
    untagged: bool = False
    is_burst: bool = False  # a stream's events come in one write
    # A stream that fails says so in an event, as vLLM does: the fields of its error.
    error_told: dict[str, Any] | None = None
    call: tuple[str, str] | None = None  # name and arguments of the call that follows the answer
    has_plugin: bool = True  # our reasoning-parser plug-in, which counts and splits
    seen: list[dict[str, Any]] = field(default_factory=list)
    # Another script for some requests, chosen by their body.
    choose: Callable[[dict[str, Any]], Script] | None = None


class FakeEngine:
    """Runs in a thread with a loop of its own; `url` is where it listens, or on the `listener`."""

    def __init__(self, port: int = 0, listener: socket.socket | None = None) -> None:
        self._port = port
        self._listener = listener
        self.script = Script()
        self.running = 0
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._counter = itertools.count()

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def reset(self) -> Script:
        self.script = Script()
        return self.script

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._started.set()
        self._loop.run_forever()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=64_000_000)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/script", self._change)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        listener = self._listener or socket.create_server(("127.0.0.1", self._port))
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()
        self.url = f"http://{host}:{port}"

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(self.script.models_after_s)
        model = {"id": MODEL, "object": "model", "created": 1, "root": "", "max_model_len": 4096}
        return web.json_response({"object": "list", "data": [model]})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"vllm:num_requests_running {float(self.running)}\n")

    async def _change(self, request: web.Request) -> web.Response:
        """Tests change the script of a fake in another process by this."""
        self.script = replace(Script(), **await request.json())
        return web.Response()

    async def _tokenize(self, request: web.Request) -> web.Response:
        tokens = re.findall("|".join(map(re.escape, IDS)), (await request.json())["prompt"])
        ids = [IDS[token] for token in tokens]
        return web.json_response({"tokens": ids, "count": len(ids), "max_model_len": 4096})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        script = record = self.script
        if script.choose is not None:
            script = script.choose(body)
        self.headers = [*self.headers[-9:], dict(request.headers)]
        if script.status != 200:
            return _error(script.status, "scripted failure", None)
        if body.get("model") != MODEL:
            return _error(404, f"The model `{body.get('model')}` does not exist.", "model")
        try:
            dial = Dial.from_arguments(body.get("vllm_xargs")) if script.has_gate else None
        except InvalidRequest as error:
            return _error(400, error.message, error.field)
        record.seen.append(body)
        self.running += 1
        try:
            await asyncio.sleep(script.headers_after_s)
            replies = [ScriptedReply(body, dial, script) for _ in range(int(body.get("n") or 1))]
            if body.get("stream") and (body.get("top_logprobs") or 0) > MAX_LOGPROBS:
                return await self._late(request, _mistake(400, "too many", "logprobs"))
            if body.get("stream"):
                return await self._stream(request, body, script, replies)
            for reply in replies:
                for _ in reply.tokens:
                    await asyncio.sleep(script.delay_s)
            if script.garbage is not None:
                return web.Response(body=script.garbage, content_type="application/json")
            return web.json_response(self._whole(script, replies))
        finally:
            self.running -= 1

    async def _late(self, request: web.Request, mistake: dict[str, Any]) -> web.StreamResponse:
        """What is found after the status is told by the only event."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + orjson.dumps(mistake) + b"\n\ndata: [DONE]\n\n")
        return response

    def _whole(self, script: Script, replies: list[ScriptedReply]) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", **reply.message()},
                "logprobs": reply.logprobs(0, len(reply.tokens)),
                "finish_reason": reply.finish_reason,
                "token_ids": None,
            }
            for index, reply in enumerate(replies)
        ]
        usage = _usage(replies, script)
        return {**self._envelope("chat.completion"), "choices": choices, "usage": usage}

    async def _stream(
        self,
        request: web.Request,
        body: dict[str, Any],
        script: Script,
        replies: list[ScriptedReply],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        held: list[bytes] = []

        async def send(event: bytes, *, is_last: bool = False) -> None:
            held.append(event)
            if is_last or not script.is_burst:
                await response.write(b"".join(held))
                held.clear()

        envelope = self._envelope("chat.completion.chunk")
        for index in range(len(replies)):
            delta = {"role": "assistant", "content": ""}
            await send(_event(envelope, [_chunk(index, delta, None, None)]))
        for sent, (place, index) in enumerate(
            (place, index)
            for place in range(max(len(reply.tokens) for reply in replies))
            for index in range(len(replies))
            if place < len(replies[index].tokens)
        ):
            if script.garbage is not None:
                await response.write(script.garbage)
                return response
            await asyncio.sleep(script.delay_s)
            if script.hang_after == sent:
                await asyncio.sleep(3600)
            if script.fail_after == sent and request.transport is not None:
                if script.error_told is not None:
                    told = orjson.dumps({"error": script.error_told})
                    await send(b"data: " + told + b"\n\n")
                    await send(b"data: [DONE]\n\n", is_last=True)
                else:
                    request.transport.close()
                return response
            reply = replies[index]
            finish = reply.finish_reason if place + 1 == len(reply.tokens) else None
            logprobs = reply.logprobs(place, place + 1)
            await send(_event(envelope, [_chunk(index, reply.delta(place), logprobs, finish)]))
        if (body.get("stream_options") or {}).get("include_usage"):
            await send(_event({**envelope, "usage": _usage(replies, script)}, []))
        await send(b"data: [DONE]\n\n", is_last=True)
        return response

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{next(self._counter)}",
            "object": kind,
            "created": 1,
            "model": MODEL,
        }


def _chunk(
    index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, finish: str | None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _usage(replies: list[ScriptedReply], script: Script) -> dict[str, Any]:
    completion = sum(len(reply.tokens) for reply in replies)
    usage = {"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": 10 + completion}
    reasoning = sum(reply.reasoning_tokens for reply in replies) if script.has_plugin else 0
    return {**usage, "completion_tokens_details": {"reasoning_tokens": reasoning}}


def _event(envelope: dict[str, Any], choices: list[dict[str, Any]]) -> bytes:
    return b"data: " + orjson.dumps({**envelope, "choices": choices}) + b"\n\n"


def _mistake(status: int, message: str, param: str | None) -> dict[str, Any]:
    error = {"message": message, "type": "BadRequestError", "param": param, "code": status}
    return {"error": error}


def _error(status: int, message: str, param: str | None) -> web.Response:
    return web.json_response(_mistake(status, message, param), status=status)


def running() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    fake.start()
    yield fake
    fake.stop()


def sent(script: Script) -> dict[str, Any]:
    return script.seen[-1]
