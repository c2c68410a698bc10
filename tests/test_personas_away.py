"""Personas where Redis is away, hangs, refuses, or holds what is none."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, RedisServer, Starter, wait_until

MARK = "okapi"


def test_redis_away_and_back(gateway: Gateway, script: Script, redis_server: RedisServer) -> None:
    """General mode without persona while it is away; personas again without restart."""
    script.logprobs = (-9.0, -1.0)
    put_persona(gateway.url, "ada", "Ada is vegan.")
    redis_server.stop()
    try:
        wait_until(
            lambda: chat(gateway.url, user="ada").json["personadual"]["source"] == "fallback", 5
        )
        answer = chat(gateway.url, user="ada")
        assert answer.json["personadual"] == {
            "mode": "general",
            "probability": pytest.approx(0.99966, abs=1e-4),
            "source": "fallback",
            "persona": {"id": "ada", "version": None, "status": "unavailable"},
        }
        assert "vegan" not in json.dumps(script.seen[-1])
        assert call(gateway.url, "/health/ready").status == 503
        refused = call(gateway.url, "/v1/personas/ada")
        assert (refused.status, refused.json["error"]["code"]) == (503, "store_unavailable")
        assert chat(gateway.url).json["personadual"]["source"] == "model", "no persona, no fallback"
    finally:
        redis_server.start()
    put_again = lambda: call(gateway.url, "/v1/personas/ada", {"text": "Back."}, method="PUT")  # noqa: E731
    wait_until(lambda: put_again().status == 200, 5)
    wait_until(
        lambda: chat(gateway.url, user="ada").json["personadual"]["persona"]["status"] == "applied",
        5,
    )


def test_redis_away_may_refuse(
    start_gateway: Starter, fake: FakeEngine, redis_server: RedisServer
) -> None:
    fake.reset()
    gateway = start_gateway(fake.url, when_store_away="refuse")
    redis_server.stop()
    try:
        wait_until(lambda: chat(gateway.url, user="ada").status == 503, 5)
        answer = chat(gateway.url, user="ada")
        assert answer.json["error"]["code"] == "store_unavailable"
        assert answer.headers["retry-after"]
        assert chat(gateway.url).status == 200
    finally:
        redis_server.start()


def test_a_redis_that_hangs_does_not_hang_answers(
    start_gateway: Starter, fake: FakeEngine, redis_server: RedisServer
) -> None:
    """Stopped, not dead: connections stand and say nothing. A retry comes only after a moment."""
    fake.reset()
    gateway = start_gateway(fake.url, redis_timeout_ms=50, redis_retry_s=5)
    chat(gateway.url)
    redis_server.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answers = [chat(gateway.url, user=f"u{index}") for index in range(20)]
        assert time.monotonic() - begun < 2.0
        statuses = {a.json["personadual"]["persona"]["status"] for a in answers}
        assert statuses == {"unavailable"}
    finally:
        redis_server.signal(signal.SIGCONT)


def test_a_burst_of_strangers_is_not_an_outage(gateway: Gateway, script: Script) -> None:
    """More lookups at once than connections: they wait for each other."""
    with ThreadPoolExecutor(150) as pool:
        answers = list(pool.map(lambda n: chat(gateway.url, user=f"u{n}"), range(150)))
    statuses = {answer.json["personadual"]["persona"]["status"] for answer in answers}
    assert statuses == {"absent"}


def test_a_refusal_of_redis_is_not_an_outage(
    gateway: Gateway, script: Script, redis: Redis
) -> None:
    """One key of another type: its user goes without persona, all others keep theirs."""
    redis.lpush("personadual:{default}:persona:odd", "x")
    put_persona(gateway.url, "ada", "Ada.")
    assert chat(gateway.url, user="odd").json["personadual"]["persona"]["status"] == "unavailable"
    assert chat(gateway.url, user="ada").json["personadual"]["persona"]["status"] == "applied"


@pytest.mark.parametrize(
    "fields",
    [
        {"text": 5},
        {"text": None},
        {"attributes": []},
        {"attributes": [MARK]},
        {"attributes": MARK},
        {"attributes": {"city": [MARK]}},
        {"attributes": {"city": None}},
        {"attributes": {"city": {"name": MARK}}},
        {"version": MARK},
        {"updated_at": 5},
    ],
    ids=json.dumps,
)
def test_a_value_of_other_types_is_unreadable(
    gateway: Gateway, redis: Redis, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """503 and no more for whom it is, an export goes on past it, and nothing of it is told."""
    put_persona(gateway.url, "bob", "Bob.")
    key = "personadual:{default}:persona:ada"
    put_persona(gateway.url, "ada", "Ada.")
    call(gateway.url, "/v1/personas/ada", method="DELETE")
    stored = {"version": 1, "text": MARK, "attributes": {}, "updated_at": None, **fields}
    redis.zadd("personadual:{default}:personas", {"ada": 0})
    redis.set(key, json.dumps(stored))
    found = call(gateway.url, "/v1/personas/ada")
    assert (found.status, found.json["error"]["code"]) == (503, "store_unavailable")
    exported = call(gateway.url, "/v1/personas/export").body.decode()
    lines = [json.loads(line) for line in exported.splitlines()]
    assert lines[0] == {"id": "ada", "unreadable": True}
    assert lines[1]["id"] == "bob"
    assert MARK not in caplog.text + exported + found.body.decode()


def test_a_value_that_someone_else_wrote(gateway: Gateway, script: Script, redis: Redis) -> None:
    """It is not taken for a persona, and its text goes nowhere."""
    redis.set("personadual:{default}:persona:ada", "okapi")
    answer = chat(gateway.url, user="ada")
    assert answer.json["personadual"]["persona"]["status"] == "unavailable"
    assert b"okapi" not in call(gateway.url, "/v1/personas/ada").body
