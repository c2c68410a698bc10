"""Callers that leave at any moment, or read nothing: the engine is freed and nothing stays."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.http.connection import Connection
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.faults.engine_process import EngineProcess
from tests.faults.remains import nothing_stays
from tests.faults.test_engine import process  # noqa: F401 - a fixture
from tests.gateway_process import GatewayProcess

PIECE = "Z" * 100_000
MANY = 400  # pieces: 40 MB


class Impatient(Connection):
    """Two seconds are for tests."""

    unread_s = 2.0


@contextmanager
def asked(url: str, **fields: Any) -> Iterator[socket.socket]:
    """A raw connection that has asked for an answer, with little room for what comes."""
    body = {"messages": [{"role": "user", "content": "x"}], **fields}
    raw = json.dumps(body).encode()
    parts = urlsplit(url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((parts.hostname, parts.port))
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(raw)}\r\n\r\n"
        )
        connection.sendall(head.encode() + raw)
        yield connection


def read_all(connection: socket.socket) -> None:
    while connection.recv(1_000_000):
        pass


MOMENTS: dict[str, tuple[dict[str, Any], dict[str, Any], bytes]] = {
    "unary": ({"delay_s": 5.0}, {}, b""),
    "before headers": ({"headers_after_s": 60.0}, {"stream": True}, b""),
    "before the tag": ({"hang_after": 0}, {"stream": True}, b"HTTP/1.1 200"),
    "within the tag": ({"hang_after": 3}, {"stream": True}, b"HTTP/1.1 200"),
    "in a stream": ({"hang_after": 8}, {"stream": True}, b"Cook"),
    "in a strict decision": (
        {"hang_after": 1},
        {"stream": True, "user": "ada", "personadual": {"isolation": "strict"}},
        b"",
    ),
    "several choices": ({"hang_after": 25}, {"stream": True, "n": 3}, b"Cook"),
}


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_gone(gateway: Gateway, fake: FakeEngine, script: Script, moment: str, how: str) -> None:
    """Within a second, by FIN or by RST."""
    behaviour, fields, awaited = MOMENTS[moment]
    call(gateway.url, "/v1/personas/ada", {"text": "Ada."}, method="PUT")
    with nothing_stays(gateway, fake):
        for name, wanted in behaviour.items():
            setattr(script, name, wanted)
        with asked(gateway.url, **fields) as connection:
            seen = b""
            while awaited not in seen:
                seen += connection.recv(4096)
            wait_until(lambda: fake.running == 1)
            time.sleep(0.15)  # beyond the time in which nobody watches
            if how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left = time.monotonic()
        wait_until(lambda: fake.running == 0, 5)
        assert time.monotonic() - left < 1.0
    fake.reset()
    assert chat(gateway.url).status == 200


def test_a_hundred_leave_at_once(gateway: Gateway, fake: FakeEngine, script: Script) -> None:
    with nothing_stays(gateway, fake):
        script.hang_after = 8
        opened = [asked(gateway.url, stream=True) for _ in range(100)]
        for connection in opened:
            connection.__enter__()
        wait_until(lambda: fake.running == 100)
        for connection in opened:
            connection.__exit__(None, None, None)
        wait_until(lambda: fake.running == 0, 2)


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_one_that_reads_nothing(
    redis_server: RedisServer,
    process: EngineProcess,  # noqa: F811
    tmp_path: Path,
) -> None:
    """40 MB wait in the engine and not in the gateway, until the caller's time is over."""
    gateway = GatewayProcess(
        tmp_path / "gateway.log",
        *("--http", "tests.faults.test_callers:Impatient"),
        engine_url=process.url,
        redis_url=redis_server.url,
        auth="off",
    )
    try:
        gateway.wait_ready()
        for stream in (False, True):
            assert chat(gateway.url, stream=stream).status == 200
        process.script(answer="So.\n\n<answer>" + f"{PIECE} " * MANY)
        before = resident_kb(gateway.process.pid)
        with asked(gateway.url, stream=True) as connection:
            wait_until(lambda: process.running() == 1)
            time.sleep(1)
            assert process.running() == 1, "it waits"
            assert resident_kb(gateway.process.pid) - before < 16_000
            wait_until(lambda: process.running() == 0, 4)
            with pytest.raises(ConnectionResetError):
                read_all(connection)
        assert "read nothing of its answer for 2 s" in gateway.said
        process.script()
        assert chat(gateway.url).status == 200
    finally:
        gateway.end()


def test_one_that_reads_slowly(start_gateway: Starter, fake: FakeEngine, script: Script) -> None:
    """Longer than the limit in all, and never as long at once: it gets everything."""
    gateway = start_gateway(fake.url, http=Impatient)
    with nothing_stays(gateway, fake):
        script.answer = "So.\n\n<answer>" + f"{PIECE} " * 40
        seen = 0
        with asked(gateway.url, stream=True) as connection:
            tail, begun = b"", time.monotonic()
            while not tail.endswith(b"0\r\n\r\n"):
                received = connection.recv(100_000)
                assert received, "it was cut off"
                seen += received.count(b"Z")
                tail = (tail + received)[-5:]
                time.sleep(0.0 if time.monotonic() - begun > 3 else 0.005)
        assert time.monotonic() - begun > 3
        assert seen == 40 * len(PIECE)
