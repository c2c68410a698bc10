"""A gateway that is killed, or told to end under load."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from testbed.fake_engine import FakeEngine, Script
from testbed.http import Answer, call, chat
from tests.conftest import RedisServer, wait_until
from tests.faults.conftest import Tell
from tests.faults.told import in_words
from tests.gateway_process import GatewayProcess

GRACE_S = 2


@contextmanager
def running(
    tmp_path: Path, fake: FakeEngine, redis: RedisServer, *options: str, **settings: str
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        tmp_path / "gateway.log",
        *("--timeout-graceful-shutdown", str(GRACE_S), *options),
        engine_url=fake.url,
        redis_url=redis.url,
        auth="off",
        **settings,
    )
    try:
        process.wait_ready()
        yield process
    finally:
        process.end(signal.SIGKILL)


def workers_of(process: GatewayProcess) -> list[int]:
    listed = Path(f"/proc/{process.process.pid}/task").glob("*/children")
    children = [pid for path in listed for pid in path.read_text().split()]
    return [int(p) for p in children if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def is_told(pid: int) -> bool:
    """Whether a worker serves, and catches SIGTERM by now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def asked(url: str, **fields: Any) -> Answer | None:
    """None where the connection breaks, or there is none."""
    try:
        return chat(url, **fields)
    except (OSError, HTTPException):
        return None


def test_a_worker_is_killed(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer, tell: Tell
) -> None:
    """kill -9 of one of two: its callers lose their connection, nobody else notices, and another
    takes its place."""
    script.hang_after = 8
    with running(tmp_path, fake, redis_server, "--workers", "2") as process:
        wait_until(lambda: sum(map(is_told, workers_of(process))) == 2, 20)
        time.sleep(1)
        with ThreadPoolExecutor(20) as pool:
            begun = [pool.submit(asked, process.url, stream=True) for _ in range(20)]
            wait_until(lambda: fake.running == 20)
            victim = workers_of(process)[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: 0 < len(lost(begun)) == 20 - fake.running, 1)
            fake.reset()
            for _ in range(10):
                tell(asked(process.url))
            wait_until(lambda: len(set(workers_of(process)) - {victim}) == 2, 10)
            for future in lost(begun):
                tell(future.result())
            process.process.send_signal(signal.SIGTERM)
            for future in set(begun) - lost(begun):
                assert in_words(future.result(10)) == "200, then `gateway_ending`"


def lost(begun: list[Future[Answer | None]]) -> set[Future[Answer | None]]:
    return {future for future in begun if future.done()}


class Load:
    """Callers in threads, each with a new connection per request, until they are stopped."""

    def __init__(self, url: str, callers: int) -> None:
        self.url = url
        self.outcomes: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(callers)
        self._futures = [self._pool.submit(self._ask, number) for number in range(callers)]

    def _ask(self, number: int) -> None:
        while not self._is_over.is_set():
            told = in_words(asked(self.url, stream=number % 2 == 0))
            self.outcomes[told] += 1

    def stop(self) -> None:
        self._is_over.set()
        for future in self._futures:
            future.result(20)


def test_sigterm_under_load(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer, tell: Tell
) -> None:
    """Readiness falls first; a load balancer that looks turns away; not one answer is lost."""
    script.delay_s = 0.02
    with running(tmp_path, fake, redis_server, notice_s="1.5") as process:
        load = Load(process.url, callers=12)
        time.sleep(1)
        process.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        wait_until(lambda: call(process.url, "/health/ready").status == 503, 1)
        ready = call(process.url, "/health/ready")
        assert "about to end" in ready.json["checks"]["gateway"]
        assert ready.headers["connection"] == "close"
        assert call(process.url, "/health/live").status == 200
        tell(chat(process.url))
        load.stop()
        assert time.monotonic() - told < 1.4, "the load ended within the notice"
        assert process.process.wait(10) == 0 or process.process.returncode == -signal.SIGTERM
        assert time.monotonic() - told < 1.5 + GRACE_S + 1
    assert set(load.outcomes) == {"200, persona absent"}
    assert fake.running == 0


def test_what_was_begun_is_finished(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer, tell: Tell
) -> None:
    """Without any notice too: answers that take less than the grace time."""
    script.delay_s = 0.1
    with running(tmp_path, fake, redis_server) as process, ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(asked, process.url, stream=n % 2 == 0) for n in range(8)]
        wait_until(lambda: fake.running == 8)
        process.process.send_signal(signal.SIGTERM)
        for future in begun:
            tell(future.result(10))
        process.process.wait(5)
    assert fake.running == 0


def test_what_outlasts_the_grace_time_is_told(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer, tell: Tell
) -> None:
    """Not cut: a last event, or a 503 that another gateway can answer."""
    script.delay_s = 1.0
    with running(tmp_path, fake, redis_server) as process, ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(asked, process.url, stream=n % 2 == 0) for n in range(8)]
        wait_until(lambda: fake.running == 8)
        process.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        for future in begun:
            tell(future.result(10))
        process.process.wait(5)
        assert time.monotonic() - told < GRACE_S + 1.5
        assert "Traceback" not in process.said
    wait_until(lambda: fake.running == 0, 1)


def test_a_second_sigterm_ends_the_notice(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer
) -> None:
    with running(tmp_path, fake, redis_server, notice_s="60") as process:
        process.process.send_signal(signal.SIGTERM)
        wait_until(lambda: call(process.url, "/health/ready").status == 503, 2)
        process.process.send_signal(signal.SIGTERM)
        process.process.wait(5)


def test_workers_give_notice_together(
    tmp_path: Path, fake: FakeEngine, script: Script, redis_server: RedisServer
) -> None:
    """The supervisor hands SIGTERM on: each of them says 503."""
    with running(tmp_path, fake, redis_server, "--workers", "2", notice_s="1.5") as process:
        wait_until(lambda: sum(map(is_told, workers_of(process))) == 2, 20)
        time.sleep(1)
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.9)
        assert {call(process.url, "/health/ready").status for _ in range(20)} == {503}
        assert chat(process.url).status == 200
        process.process.wait(10)
