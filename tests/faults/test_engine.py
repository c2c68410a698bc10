"""An engine that is dead, hung, slow, restarted, or answers what no engine should."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model.vllm import MAX_EVENT_BYTES
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat
from tests.conftest import Gateway, Starter, wait_until
from tests.faults.conftest import Tell
from tests.faults.engine_process import EngineProcess
from tests.faults.proxy import Fault, Proxy, proxied
from tests.faults.remains import nothing_stays

SILENCE_S = 0.4


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EngineProcess]:
    engine = EngineProcess(tmp_path)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def proxy(fake: FakeEngine) -> Iterator[Proxy]:
    with proxied(fake.url) as proxy:
        yield proxy


@pytest.fixture
def behind(start_gateway: Starter, fake: FakeEngine, script: Script, proxy: Proxy) -> Gateway:
    """A gateway that reaches the fake engine through the proxy."""
    return start_gateway(f"http://127.0.0.1:{proxy.port}", engine_silence_s=SILENCE_S)


def test_killed_and_restarted(start_gateway: Starter, process: EngineProcess, tell: Tell) -> None:
    """kill -9 in the middle of a stream; at the same port it is found again at once."""
    gateway = start_gateway(process.url)
    process.script(delay_s=0.02, answer="word " * 500)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(chat, gateway.url, stream=True)
        wait_until(lambda: process.running() == 1)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGKILL)
        tell(running.result(10))
    for stream in (False, True):
        tell(chat(gateway.url, stream=stream))
    assert call(gateway.url, "/health/ready").status == 503
    process.stop()
    process.start()
    assert chat(gateway.url).status == 200
    assert call(gateway.url, "/health/ready").status == 200


def test_stopped_and_continued(start_gateway: Starter, process: EngineProcess, tell: Tell) -> None:
    """SIGSTOP: the kernel takes connections, and nobody answers."""
    gateway = start_gateway(process.url, engine_silence_s=SILENCE_S)
    assert chat(gateway.url).status == 200
    os.kill(process.pid, signal.SIGSTOP)
    for stream in (False, True):
        begun = time.monotonic()
        tell(chat(gateway.url, stream=stream))
        assert time.monotonic() - begun < SILENCE_S + 1
    os.kill(process.pid, signal.SIGCONT)
    assert chat(gateway.url).status == 200
    wait_until(lambda: process.running() == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_hung_before_headers(
    start_gateway: Starter, fake: FakeEngine, script: Script, tell: Tell, stream: bool
) -> None:
    """The status is the engine's to tell until its headers are there."""
    gateway = start_gateway(fake.url, engine_silence_s=SILENCE_S)
    with nothing_stays(gateway, fake):
        script.headers_after_s = 60
        tell(chat(gateway.url, stream=stream))
        script.headers_after_s = 0
        assert chat(gateway.url).status == 200


@pytest.mark.parametrize("tokens", [0, 3, 8])
def test_hung_in_a_stream(
    start_gateway: Starter, fake: FakeEngine, script: Script, tell: Tell, tokens: int
) -> None:
    """Before the tag, within it, and behind it."""
    gateway = start_gateway(fake.url, engine_silence_s=SILENCE_S)
    with nothing_stays(gateway, fake):
        script.hang_after = tokens
        tell(chat(gateway.url, stream=True))
        script.hang_after = None
        assert chat(gateway.url).status == 200


TEXT = (
    b'data: {"id":"x","created":1,"model":"pocket","choices":'
    b'[{"index":0,"delta":{"content":"%s"}}]}'
)
GARBAGE = {
    "nothing": b"",
    "no JSON": b"data: {okapi\n\n",
    "half an event": TEXT % b"[General_mo",
    "another shape": b'data: {"choices": 5}\n\ndata: [DONE]\n\n',
    "an error": b'data: {"error": {"message": "okapi", "code": 500}}\n\ndata: [DONE]\n\n',
    "a page": b"<html>okapi</html>\n\n" * 100,
    "bytes": bytes(range(256)) * 50,
    "no end": b"data: {" + b"x" * (MAX_EVENT_BYTES + 100_000),
    "no [DONE]": (TEXT % b"[General_mode]\\n okapi is half an answer") + b"\n\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_a_stream(
    gateway: Gateway, fake: FakeEngine, script: Script, tell: Tell, name: str
) -> None:
    """Never dressed up as an end, and never repeated."""
    with nothing_stays(gateway, fake):
        script.garbage = GARBAGE[name]
        answer = chat(gateway.url, stream=True)
        tell(answer)
        assert name == "no [DONE]" or b"okapi" not in answer.body
        script.garbage = None
        assert chat(gateway.url, stream=True).content == "Cook a stew."


@pytest.mark.parametrize(
    "garbage", [b"", b'{"id": "x", "created": 1, "choices": [{"ind', b"okapi", b"[]", b"{}"]
)
def test_garbage_in_place_of_an_answer(
    gateway: Gateway, fake: FakeEngine, script: Script, tell: Tell, garbage: bytes
) -> None:
    """JSON that was cut, at its full length as far as HTTP knows."""
    with nothing_stays(gateway, fake):
        script.garbage = garbage
        tell(chat(gateway.url))
        script.garbage = None
        assert chat(gateway.url).status == 200


@pytest.mark.parametrize("cut_after", [120, 300, 700])
@pytest.mark.parametrize("stream", [False, True])
def test_connection_cut(
    behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell, cut_after: int, stream: bool
) -> None:
    """Within the headers, and behind them."""
    with nothing_stays(behind, fake):
        proxy.drop()
        time.sleep(0.1)
        proxy.fault.cut_after = cut_after
        tell(chat(behind.url, stream=stream))
        proxy.fault = Fault()
        assert chat(behind.url).status == 200


def test_connection_refused(behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell) -> None:
    with nothing_stays(behind, fake):
        proxy.drop()
        time.sleep(0.1)
        proxy.fault.refuses = True
        for stream in (False, True):
            tell(chat(behind.url, stream=stream))
        proxy.fault = Fault()
        assert chat(behind.url).status == 200


def test_idle_connections_reset(
    behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell
) -> None:
    """As by a restart, or by something between: nobody sees it."""
    with nothing_stays(behind, fake):
        for stream in (False, True):
            proxy.drop()
            time.sleep(0.1)
            tell(chat(behind.url, stream=stream))


@pytest.mark.parametrize("stream", [False, True])
def test_garbled(behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell, stream: bool) -> None:
    """Not even HTTP."""
    with nothing_stays(behind, fake):
        proxy.fault.is_garbled = True
        tell(chat(behind.url, stream=stream))
        proxy.fault = Fault()
        assert chat(behind.url).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_one_byte_at_a_time(
    behind: Gateway, fake: FakeEngine, script: Script, proxy: Proxy, tell: Tell, stream: bool
) -> None:
    """Also characters and tags that are cut: the same text."""
    script.answer = "Å 🦓 of [General words."
    with nothing_stays(behind, fake):
        proxy.fault.piece_bytes = 1
        answer = chat(behind.url, stream=stream)
        tell(answer)
        message = None if stream else answer.json["choices"][0]["message"]["content"]
        assert (message or answer.content) == script.answer
        proxy.fault = Fault()
