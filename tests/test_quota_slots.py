"""Limits on requests at once: slots are exact across gateways, and always come back."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from app.access.quota import Limits
from testbed.fake_engine import FakeEngine, Script
from testbed.http import Answer, bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.gateway_process import GatewayProcess
from tests.test_quota import buckets


def slots(redis: Redis, key: str) -> Any:
    return redis.zcard(f"personadual:{{limit:{key.split('-')[1]}}}:slots")


def test_concurrent_requests_across_gateways(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
) -> None:
    """Two slots for three who ask at once; whoever has its last byte may come back at once."""
    gateways = [start_gateway(fake.url) for _ in range(2)]
    key = new_key(redis_server.url, limits=Limits(concurrent=2))
    script.delay_s = 0.1
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(chat, gateway.url, key=key, stream=True) for gateway in gateways]
        wait_until(lambda: slots(redis, key) == 2)
        refused = chat(gateways[0].url, key=key)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert [future.result().status for future in running] == [200, 200]
    script.delay_s = 0
    one = new_key(redis_server.url, limits=Limits(concurrent=1))
    for turn in range(40):
        answer = chat(gateways[turn % 2].url, key=one, stream=turn % 3 == 0)
        assert answer.status == 200
    assert slots(redis, one) == 0


@pytest.mark.parametrize(
    ("behaviour", "last"),
    [({}, b"data: [DONE]"), ({"fail_after": 8}, b'data: {"error"')],
    ids=["done", "an error"],
)
def test_a_streams_slot_is_free_with_its_last_event(
    gateway: Gateway,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    behaviour: dict[str, Any],
    last: bytes,
) -> None:
    """Clients stop reading there, and ask again over another connection; it is paid then, too."""
    limits = Limits(concurrent=1, tokens_per_minute=1_000_000)
    key = new_key(redis_server.url, limits=limits)
    for name, wanted in behaviour.items():
        setattr(script, name, wanted)
    host, port = gateway.url.removeprefix("http://").split(":")
    raw = b'{"stream": true, "messages": [{"role": "user", "content": "x"}]}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    ).encode()
    for _ in range(60):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head + raw)
            said = b""
            while last not in said:
                got = connection.recv(65_536)
                assert got
                said += got
            assert slots(redis, key) == 0
            assert float(str(redis.hget(buckets(key), "tokens"))) < 1_000_000


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_leaves_frees_its_slot_and_pays(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis, stream: bool
) -> None:
    """By what it was sent and a quarter of its prompt's bytes: nobody else has counted."""
    key = new_key(redis_server.url, limits=Limits(tokens_per_minute=10_000, concurrent=1))
    script.delay_s = 5
    host, port = gateway.url.removeprefix("http://").split(":")
    raw = b'{"messages": [{"role": "user", "content": "%s"}], "stream": %s}' % (
        b"x" * 8_000,
        b"true" if stream else b"false",
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
        wait_until(lambda: slots(redis, key) == 1)
        time.sleep(0.3)  # beyond the time in which nobody watches
    wait_until(lambda: slots(redis, key) == 0, 2)
    left = float(str(redis.hget(buckets(key), "tokens")))
    assert 7_900 < left < 8_100


def test_refusals_and_failures_free_their_slot(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    key = new_key(redis_server.url, limits=Limits(concurrent=1))
    assert chat(gateway.url, key=key, model="nope").status == 404
    assert call(gateway.url, "/v1/mode", b"{", headers=bearer(key)).status == 400
    script.status = 500
    assert chat(gateway.url, key=key).status >= 500
    script.status = 200
    script.fail_after = 8
    assert chat(gateway.url, key=key, stream=True).status == 200
    assert slots(redis, key) == 0


def test_a_killed_gateway_frees_its_slots(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path: Path,
) -> None:
    """Taken while it lives, however long; free a lease after kill -9."""
    lease_s = 1.5
    key = new_key(redis_server.url, limits=Limits(concurrent=1))
    other = start_gateway(fake.url)
    process = GatewayProcess(
        tmp_path / "gateway.log",
        engine_url=fake.url,
        redis_url=redis_server.url,
        redis_timeout_ms="1000",
        slot_lease_s=str(lease_s),
    )
    try:
        process.wait_ready()
        script.delay_s = 2
        ask = threading.Thread(target=_lost, args=(process.url, key), daemon=True)
        ask.start()
        wait_until(lambda: slots(redis, key) == 1)
        time.sleep(2 * lease_s)
        assert chat(other.url, key=key).status == 429, "it is renewed"
        process.end(signal.SIGKILL)
        killed = time.monotonic()
        assert chat(other.url, key=key).status == 429
        script.delay_s = 0
        wait_until(lambda: chat(other.url, key=key).status == 200, 10)
        assert time.monotonic() - killed < lease_s + 1.5
        ask.join(10)
    finally:
        process.end(signal.SIGKILL)


def _lost(url: str, key: str) -> Answer | None:
    try:
        return chat(url, key=key, stream=True)
    except (OSError, HTTPException):
        return None
