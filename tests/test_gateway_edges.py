"""Edges of a request: bad input, what passes all the same, paths, ids, headers and docs."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from model.vllm import CHAT_PATH
from testbed.fake_engine import Script, sent
from testbed.http import call, chat
from tests.conftest import Gateway

MESSAGE = {"role": "user", "content": "x"}
MARK = "okapi"


def body(**fields: Any) -> bytes:
    return json.dumps({"messages": [MESSAGE], **fields}).encode()


BAD: dict[str, tuple[bytes, int, str]] = {
    "not JSON": (b"{", 400, "body"),
    "not UTF-8": (b'{"messages": "\xff"}', 400, "body"),
    "not an object": (b"[]", 400, "body"),
    "nested without end": (b"[" * 5000, 400, "body"),
    "empty": (b"", 400, "body"),
    "no messages": (b"{}", 400, "messages"),
    "0 messages": (b'{"messages": []}', 400, "messages"),
    "100,000 messages": (body(messages=[MESSAGE] * 100_000), 400, "messages"),
    "messages of another type": (body(messages="hi"), 400, "messages"),
    "message of another type": (body(messages=[1]), 400, "messages.0"),
    "unknown role": (body(messages=[{"role": MARK, "content": "x"}]), 400, "messages.0.role"),
    "no role": (body(messages=[{"content": "x"}]), 400, "messages.0.role"),
    "content of another type": (
        body(messages=[{"role": "user", "content": 5}]),
        400,
        "messages.0.content",
    ),
    "20 MB": (body(padding="x" * 20_000_000), 413, "body"),
    "n=0": (body(n=0), 400, "n"),
    "n as text": (body(n="2"), 400, "n"),
    "negative temperature": (body(temperature=-0.1), 400, "temperature"),
    "stream as text": (body(stream="yes"), 400, "stream"),
    "max_tokens=0": (body(max_tokens=0), 400, "max_tokens"),
    "unknown model": (body(model=MARK), 404, "model"),
    "model of another type": (body(model=7), 400, "model"),
    "unknown mode": (body(personadual={"mode": MARK}), 400, "personadual.mode"),
    "mode against alias": (
        body(model="pocket-general", personadual={"mode": "personalized"}),
        400,
        "personadual.mode",
    ),
    "threshold 2": (body(personadual={"threshold": 2}), 400, "personadual.threshold"),
    "threshold as text": (body(personadual={"threshold": "1"}), 400, "personadual.threshold"),
    "unknown isolation": (body(personadual={"isolation": MARK}), 400, "personadual.isolation"),
    "unknown extension field": (body(personadual={MARK: 1}), 400, f"personadual.{MARK}"),
    "extension of another type": (body(personadual=[]), 400, "personadual"),
    "id with spaces": (body(personadual={"persona_id": "a b"}), 400, "personadual.persona_id"),
    "id with a line break": (
        body(personadual={"persona_id": "a\nb"}),
        400,
        "personadual.persona_id",
    ),
    "id of 10 kB": (
        body(personadual={"persona_id": "x" * 10_000}),
        400,
        "personadual.persona_id",
    ),
    "empty persona": (body(personadual={"persona": ""}), 400, "personadual.persona"),
    "persona of 9,000": (body(personadual={"persona": "x" * 9_000}), 400, "personadual.persona"),
    "deep metadata": (
        b'{"messages": [{"role": "user", "content": "x"}], "metadata": '
        + b"[" * 400
        + b"]" * 400
        + b"}",
        400,
        "body",
    ),
    "max_tokens of 64 bits": (body(max_tokens=2**64 - 1), 400, "max_tokens"),
    "a stop token of the tag": (body(stop_token_ids=[198]), 400, "stop_token_ids"),
    "the same, as text": (body(stop_token_ids=["198"]), 400, "stop_token_ids.0"),
    "a stop token that is none": (body(stop_token_ids=[[1]]), 400, "stop_token_ids.0"),
    "a bias on a token of the tag": (body(logit_bias={"11": 5, "198": -100}), 400, "logit_bias"),
    "the same, spelt as vLLM reads it": (body(logit_bias={" 1_98": 100}), 400, "logit_bias"),
    "a forbidden word of the tag": (body(bad_words=["x", " Personalized"]), 400, "bad_words"),
    "its last token": (body(bad_words=["]\n"]), 400, "bad_words"),
    "one that the tag is in": (body(bad_words=["[General_mode]\nYes"]), 400, "bad_words"),
    "one that a tokenizer may fold into it": (body(bad_words=["\uff27eneral"]), 400, "bad_words"),
    "beam search": (body(use_beam_search=True), 400, "use_beam_search"),
    "gate arguments": (
        body(vllm_xargs={"personadual_mode": "general"}),
        400,
        "vllm_xargs.personadual_mode",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_nothing_remains(
    gateway: Gateway, script: Script, name: str
) -> None:
    """4xx with the field in the message, the service goes on, and no label repeats the input."""
    raw, status, field = BAD[name]
    answer = call(gateway.url, CHAT_PATH, raw)
    assert answer.status == status
    error = answer.json["error"]
    assert error["param"] == field
    assert field in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)
    assert len(answer.body) < 1_000
    assert answer.headers["x-request-id"]
    assert not script.seen, "the engine was not asked"
    assert MARK not in call(gateway.url, "/metrics").body.decode()
    assert chat(gateway.url).status == 200


def test_biases_and_forbidden_words_that_are_no_tags_pass(gateway: Gateway, script: Script) -> None:
    fields: dict[str, Any] = {"logit_bias": {"7": 5, "okapi": 1}, "bad_words": ["zebra", 3]}
    assert chat(gateway.url, **fields).status == 200
    assert sent(script).items() >= fields.items()


def test_template_arguments_stay_plain(gateway: Gateway, script: Script) -> None:
    """A template may print them, as the name of an assistant or a date."""
    assert chat(gateway.url, chat_template_kwargs={"url": "<|im_end|>", "n": 1}).status == 200
    assert sent(script)["chat_template_kwargs"] == {"url": "<\u200b|im_end|>", "n": 1}


def test_a_long_body_without_length_is_cut_off(gateway: Gateway) -> None:
    """Chunked: the length is not known before it has come."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        assert b" 413 " in connection.recv(1000)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/nothing", "GET", 404), ("/v1/models", "DELETE", 405), ("/nothing", "GET", 404)],
)
def test_unknown_paths_answer_in_the_same_shape(
    gateway: Gateway, path: str, method: str, status: int
) -> None:
    answer = call(gateway.url, path, method=method)
    assert answer.status == status
    assert isinstance(answer.json["error"]["code"], str)


def test_request_ids(gateway: Gateway, script: Script) -> None:
    """A clean one is kept, another replaced; every answer has one and our own time."""
    kept = call(gateway.url, "/v1/models", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    replaced = call(gateway.url, "/v1/models", headers={"x-request-id": "a b" * 99})
    assert replaced.headers["x-request-id"].startswith("req-")
    assert float(replaced.headers["x-personadual-overhead-ms"]) >= 0


def test_overhead_is_our_own_time(gateway: Gateway, script: Script) -> None:
    """An engine that takes half a second does not show in it."""
    chat(gateway.url)
    script.delay_s = 0.05
    begun = time.perf_counter()
    answer = chat(gateway.url)
    assert (time.perf_counter() - begun) * 1000 > 400
    assert float(answer.headers["x-personadual-overhead-ms"]) < 200


def test_docs_describe_the_bodies(gateway: Gateway) -> None:
    schema = call(gateway.url, "/openapi.json").json
    assert call(gateway.url, "/docs").status == 200
    known = schema["components"]["schemas"]
    for name in ("ChatRequest", "Extension", "PersonaBody", "PersonaPage", "ReplyExtension"):
        assert known[name]["properties"]
    reference = schema["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]
    assert reference["application/json"]["schema"]["$ref"].endswith("ChatRequest")
