"""Ten thousand connections that say nothing: they cost the others nothing, and little memory."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.fake_engine import FakeEngine, Script
from testbed.http import chat
from tests.conftest import RedisServer
from tests.gateway_process import GatewayProcess

COUNT = 10_000
WORKERS = 2
"""Each may hold half as many connections as it may open files: each may need one to the engine."""


@pytest.fixture
def crowd() -> Iterator[ExitStack]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < COUNT + 500:
        pytest.skip(f"this machine lets a process open {most} files alone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as held:
        yield held
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


def memory_bytes(pids: list[int]) -> int:
    return sum(
        int(line.split()[1]) * 1024
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ten_thousand_idle_connections(
    crowd: ExitStack, fake: FakeEngine, script: Script, redis_server: RedisServer, tmp_path: Path
) -> None:
    options = ["--workers", str(WORKERS), "--http", "app.http.connection:Connection"]
    gateway = GatewayProcess(
        tmp_path / "log", *options, engine_url=fake.url, redis_url=redis_server.url
    )
    crowd.callback(gateway.end)
    gateway.wait_ready()
    for _ in range(20):
        assert chat(gateway.url).status == 200
    workers = children(gateway.process.pid)
    before = memory_bytes(workers)
    host, port = gateway.url.removeprefix("http://").split(":")
    for _ in range(COUNT):
        crowd.enter_context(socket.create_connection((host, int(port)), timeout=10))
    longest = 0.0
    for _ in range(20):
        begun = time.monotonic()
        assert chat(gateway.url).status == 200
        longest = max(longest, time.monotonic() - begun)
    open_files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers)
    assert open_files >= COUNT, "some were refused: they are not held"
    assert longest < 1.0
    assert memory_bytes(workers) - before < COUNT * 32 * 1024
