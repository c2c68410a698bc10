"""Scale: the gateway over the official vllm-router over two engines, as in docker/scale.yml."""

from __future__ import annotations

import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, Starter, wait_until
from tests.test_compose import DOCKER, load

COMMAND = load(DOCKER / "scale.yml")["services"]["router"]["command"]


@pytest.fixture
def engines() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    first, second = FakeEngine(), FakeEngine()
    for engine in (first, second):
        engine.start()
    yield first, second
    for engine in (first, second):
        engine.stop()


@pytest.fixture
def routed(
    engines: tuple[FakeEngine, FakeEngine], start_gateway: Starter, tmp_path: Path
) -> Iterator[Gateway]:
    """A gateway whose engine is a router, with the options of the Compose file."""
    port, metrics_port = free_port(), free_port()
    urls = {"http://engine:8000": engines[0].url, "http://engine-2:8000": engines[1].url}
    options = [urls.get(option, option) for option in COMMAND]
    options += ["--port", str(port), "--prometheus-port", str(metrics_port)]
    program = Path(sysconfig.get_path("scripts")) / "vllm-router"
    with (tmp_path / "router.log").open("w") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _is_ready(url), 30)
    yield start_gateway(url)
    process.terminate()
    process.wait(timeout=30)


def _is_ready(url: str) -> bool:
    try:
        return call(url, "/readiness").status == 200
    except OSError:
        return False


def test_the_dial_passes_the_router_and_both_engines_work(
    routed: Gateway, engines: tuple[FakeEngine, FakeEngine], tmp_path: Path
) -> None:
    """Mode, probability and isolation as without it; no text of a caller in its log."""
    put_persona(routed.url, "ada", "Ada is vegan.")
    for turn in range(8):
        body = chat(routed.url, f"okapi {turn}", user="ada").json
        assert body["personadual"]["probability"] == pytest.approx(0.269, abs=1e-3)
    strict = chat(routed.url, "okapi", user="ada", personadual={"isolation": "strict"}).json
    assert strict["personadual"]["persona"]["status"] == "withheld"
    assert chat(routed.url, "okapi", stream=True).content == "Cook a stew."
    assert all(engine.script.seen for engine in engines)
    assert call(routed.url, "/health/ready").status == 200
    assert "okapi" not in (tmp_path / "router.log").read_text()


def test_who_leaves_frees_the_engine_behind_the_router(
    routed: Gateway, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    for engine in engines:
        engine.script.delay_s = 0.5
    host, port = routed.url.removeprefix("http://").split(":")
    body = b'{"stream": true, "messages": [{"role": "user", "content": "x"}]}'
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(head + body)
        wait_until(lambda: sum(engine.running for engine in engines) == 1)
    wait_until(lambda: sum(engine.running for engine in engines) == 0, 2)
