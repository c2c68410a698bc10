"""Redis hung, slow, restarted, full, locked, garbled: answers go on, and personas come back."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from app.access.quota import Limits
from testbed.fake_engine import FakeEngine, Script
from testbed.http import Answer, bearer, call, chat, put_persona
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.faults.conftest import Tell
from tests.faults.proxy import Fault, Proxy, proxied
from tests.faults.remains import nothing_stays
from tests.test_metrics import scrape, value

CACHE_S = 0.001  # a persona is asked for anew each time
RETRY_S = 0.2


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with proxied(redis_server.url) as proxy:
        yield proxy


@pytest.fixture
def behind(start_gateway: Starter, fake: FakeEngine, script: Script, proxy: Proxy) -> Gateway:
    """A gateway that reaches Redis through the proxy and asks it for every persona."""
    return gateway_at(start_gateway, fake, proxy.port)


def gateway_at(start_gateway: Starter, fake: FakeEngine, port: int, limit_ms: int = 150) -> Gateway:
    return start_gateway(
        fake.url,
        redis_url=f"redis://127.0.0.1:{port}/0",
        redis_timeout_ms=limit_ms,
        redis_retry_s=RETRY_S,
        persona_cache_s=CACHE_S,
    )


def status(answer: Answer) -> str:
    return str(answer.json["personadual"]["persona"]["status"])


def wait_back(gateway: Gateway, limit_s: float = 5.0) -> None:
    """The persona is in force again, without a restart."""
    wait_until(lambda: status(chat(gateway.url, user="ada")) == "applied", limit_s)


def test_hung(
    start_gateway: Starter, fake: FakeEngine, script: Script, redis_server: RedisServer, tell: Tell
) -> None:
    """SIGSTOP: one request in five waits for its limit, the others do not wait at all."""
    gateway = gateway_at(start_gateway, fake, redis_server.port)
    put_persona(gateway.url, "ada", "Ada.")
    with nothing_stays(gateway, fake):
        redis_server.signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for number in range(10):
                tell(chat(gateway.url, user="ada", stream=number % 2 == 1))
            assert time.monotonic() - begun < 4
            refused = call(gateway.url, "/v1/personas/ada")
            assert refused.json["error"]["code"] == "store_unavailable"
        finally:
            redis_server.signal(signal.SIGCONT)
        wait_back(gateway)


def test_slow_within_the_limit(behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell) -> None:
    put_persona(behind.url, "ada", "Ada.")
    with nothing_stays(behind, fake):
        proxy.fault.delay_s = (0.03, 0.03)
        for _ in range(5):
            tell(chat(behind.url, user="ada"))
        proxy.fault = Fault()


def test_slow_around_the_limit(
    behind: Gateway, fake: FakeEngine, script: Script, proxy: Proxy, tell: Tell
) -> None:
    """Answers that come late belong to nobody: no user ever gets another's persona."""
    users = [f"u{number}" for number in range(20)]
    for user in users:
        put_persona(behind.url, user, f"I am {user}.")
    script.answer_to = lambda body: str(body["messages"][0]["content"])

    def ask(user: str) -> Answer:
        answer = chat(behind.url, user=user)
        wanted = f"I am {user}." if status(answer) == "applied" else "What now?"
        assert answer.json["choices"][0]["message"]["content"].endswith(wanted)
        return answer

    proxy.fault.delay_s = (0.03, 0.03)
    pool = ThreadPoolExecutor(4)
    deque(pool.map(ask, users), 0)  # so many connections are there as are used below
    with pool, nothing_stays(behind, fake):
        proxy.fault.delay_s = (0.0, 0.2)
        for _ in range(10):
            for answer in pool.map(ask, users):
                tell(answer)
            time.sleep(RETRY_S)
        proxy.fault = Fault()
        put_persona_when_back(behind)
        wait_back(behind)


def put_persona_when_back(gateway: Gateway) -> None:
    body = {"text": "Ada."}
    put = lambda: call(gateway.url, "/v1/personas/ada", body, method="PUT").status  # noqa: E731
    wait_until(lambda: put() == 200, 5)


@pytest.mark.parametrize(
    "fault", [Fault(is_garbled=True), Fault(cut_after=3), Fault(refuses=True)], ids=str
)
def test_garbled_cut_or_refused(
    behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell, fault: Fault
) -> None:
    """Whatever comes is not taken for a persona."""
    put_persona(behind.url, "ada", "Ada.")
    with nothing_stays(behind, fake):
        proxy.fault = fault
        proxy.drop()
        time.sleep(0.1)
        for _ in range(8):
            tell(chat(behind.url, user="ada"))
            time.sleep(RETRY_S / 3)
        proxy.fault = Fault()
        wait_back(behind)


def test_connections_reset(behind: Gateway, fake: FakeEngine, proxy: Proxy, tell: Tell) -> None:
    """As by a restart in between: the pool finds its connections dead and opens others."""
    put_persona(behind.url, "ada", "Ada.")
    with nothing_stays(behind, fake):
        for _ in range(3):
            proxy.drop()
            time.sleep(0.1)
            tell(chat(behind.url, user="ada"))


def test_out_of_memory(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    tell: Tell,
) -> None:
    """What is stored goes on being read; what cannot be stored is said."""
    gateway = gateway_at(start_gateway, fake, redis_server.port, limit_ms=1000)
    put_persona(gateway.url, "ada", "Ada.")
    key = new_key(redis_server.url, "default", limits=Limits(requests_per_minute=60))
    with nothing_stays(gateway, fake):
        redis.config_set("maxmemory", 1)  # and the policy is noeviction
        try:
            body = {"text": "Bob."}
            tell(call(gateway.url, "/v1/personas/bob", body, method="PUT", headers=bearer(key)))
            tell(chat(gateway.url, user="ada", key=key))
            unchecked = 'personadual_limit_checks_total{outcome="unchecked"}'
            assert value(scrape(gateway), unchecked) == 1
        finally:
            redis.config_set("maxmemory", 0)
        body = {"text": "Bob."}
        stored = call(gateway.url, "/v1/personas/bob", body, method="PUT", headers=bearer(key))
        assert stored.status == 200


def test_wrong_password(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    tell: Tell,
) -> None:
    """One that is changed while we run, and changed back."""
    gateway = gateway_at(start_gateway, fake, redis_server.port, limit_ms=1000)
    put_persona(gateway.url, "ada", "Ada.")
    with nothing_stays(gateway, fake):
        redis.config_set("requirepass", "okapi")
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)
        try:
            time.sleep(0.1)
            for _ in range(3):
                tell(chat(gateway.url, user="ada"))
            refused = call(gateway.url, "/v1/personas/ada")
            assert refused.json["error"]["code"] == "store_unavailable"
            assert call(gateway.url, "/health/ready").json["checks"]["redis"] != "ok"
        finally:
            redis.config_set("requirepass", "")
        wait_back(gateway)
