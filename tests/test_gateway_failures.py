"""The gateway where the engine, a caller or we ourselves fail: what is said, what remains."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from app.main import open_engine
from app.personas import Lasting, PersonaKey
from app.settings import Settings
from model.vllm import CHAT_PATH
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, Starter, wait_until
from tests.fake_store import CountingStore, FakeStore
from tests.test_gateway_edges import MESSAGE, body


@pytest.mark.parametrize(
    ("engine", "ours", "code"),
    [
        (400, 400, "invalid_request"),
        (422, 400, "invalid_request"),
        (401, 502, "engine_key"),
        (429, 503, "engine_unavailable"),
        (503, 503, "engine_unavailable"),
        (500, 502, "engine_broken"),
        (504, 504, "engine_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_engine_refuses(
    gateway: Gateway, script: Script, engine: int, ours: int, code: str, stream: bool
) -> None:
    """Its status is ours before the first byte; 503 says when to come again."""
    call(gateway.url, "/v1/models")  # the gateway has seen the engine in good health
    script.status = engine
    answer = chat(gateway.url, stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (ours, code)
    assert ("retry-after" in answer.headers) == (ours == 503)
    script.status = 200
    assert chat(gateway.url).status == 200


def test_an_engine_that_is_not_there(start_gateway: Starter, script: Script) -> None:
    gateway = start_gateway("http://127.0.0.1:9")
    answer = chat(gateway.url)
    assert answer.status == 503
    assert answer.json["error"]["code"] == "engine_unavailable"
    ready = call(gateway.url, "/health/ready")
    assert (ready.status, ready.headers["retry-after"]) == (503, "2")
    assert call(gateway.url, "/health/live").status == 200


def test_an_engine_that_hangs(start_gateway: Starter, fake: FakeEngine) -> None:
    """Silence is bounded: 504, and the engine's request is dropped."""
    script = fake.reset()
    gateway = start_gateway(fake.url, engine_silence_s=0.3)
    script.delay_s = 30
    assert chat(gateway.url).status == 504
    wait_until(lambda: fake.running == 0, 2)
    events = chat(gateway.url, stream=True).events
    assert events[-1]["error"]["code"] == "engine_timeout"
    wait_until(lambda: fake.running == 0, 2)


def test_a_stream_that_breaks_ends_with_an_error(gateway: Gateway, script: Script) -> None:
    """After the first byte an error is the last event; no `[DONE]` pretends that all was well."""
    script.fail_after = 8
    answer = chat(gateway.url, stream=True)
    assert answer.status == 200
    assert answer.events[-1]["error"]["code"] == "engine_broken"
    assert b"[DONE]" not in answer.body
    wanted = 'personadual_requests_total{route="chat",status="502"} 1.0'
    wait_until(lambda: wanted in call(gateway.url, "/metrics").body.decode(), 2)
    with pytest.raises(Exception, match="broke off"):
        list(
            gateway.client.chat.completions.create(model="pocket", messages=[MESSAGE], stream=True)
        )


@pytest.mark.parametrize(("isolation", "status"), [("shared", 200), ("strict", 400)])
def test_a_mistake_that_the_engine_finds_late_is_the_callers(
    gateway: Gateway, script: Script, isolation: str, status: int
) -> None:
    """vLLM looks at some fields only behind its status; what it says of them is handed on."""
    put_persona(gateway.url, "ada", "Ada.")
    script.fail_after = 0
    script.error_told = {
        "message": "Requested sample logprobs of 50",
        "type": "BadRequestError",
        "param": "logprobs",
        "code": 400,
    }
    answer = chat(gateway.url, stream=True, user="ada", personadual={"isolation": isolation})
    assert answer.status == status
    error = answer.events[-1]["error"] if status == 200 else answer.json["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "logprobs")
    assert error["message"] == "Requested sample logprobs of 50"
    wanted = 'personadual_requests_total{route="chat",status="400"} 1.0'
    wait_until(lambda: wanted in call(gateway.url, "/metrics").body.decode(), 2)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("isolation", ["shared", "strict"])
def test_a_caller_who_leaves_frees_the_engine(
    gateway: Gateway, fake: FakeEngine, script: Script, stream: bool, isolation: str
) -> None:
    """Within a second, while the first token is still to come, streamed or not."""
    put_persona(gateway.url, "ada", "Ada.")
    script.delay_s = 5
    host, port = gateway.url.removeprefix("http://").split(":")
    raw = body(stream=stream, user="ada", personadual={"isolation": isolation})
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        wait_until(lambda: fake.running == 1, 5)
    left = time.monotonic()
    wait_until(lambda: fake.running == 0, 5)
    assert time.monotonic() - left < 1.0
    metrics = call(gateway.url, "/metrics").body.decode()
    wait_until(lambda: "personadual_inflight 0.0" in call(gateway.url, "/metrics").body.decode(), 2)
    assert "personadual_inflight" in metrics


def test_a_caller_who_leaves_during_its_upload(gateway: Gateway, caplog: Any) -> None:
    """No traceback: it happens all day."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
        time.sleep(0.1)
    wanted = 'personadual_requests_total{route="chat",status="499"} 1.0'
    wait_until(lambda: wanted in call(gateway.url, "/metrics").body.decode(), 2)
    assert "Traceback" not in caplog.text


class BrokenStore(CountingStore):
    """A store with a bug."""

    async def get(self, key: PersonaKey) -> Lasting | None:
        raise RuntimeError("okapi")


def test_a_bug_is_a_500_in_the_same_shape(fake: FakeEngine, script: Script) -> None:
    """With its request id, counted; what went wrong stands in the log and not in the answer."""
    settings = Settings(engine_url=fake.url)
    gateway = Gateway(settings, open_engine(settings), FakeStore(BrokenStore()))
    gateway.start()
    try:
        answer = chat(gateway.url, user="ada")
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
        assert answer.headers["x-request-id"]
        assert b"okapi" not in answer.body
        assert b'route="chat",status="500"} 1.0' in call(gateway.url, "/metrics").body
        assert chat(gateway.url).status == 200
    finally:
        gateway.stop()
