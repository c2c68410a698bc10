"""Limits of keys: exact across gateways, read by the official client."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import RateLimitError
from redis import Redis

from app.access.quota import Limits, _duration
from testbed.fake_engine import FakeEngine, Script
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter
from tests.test_metrics import scrape, value

MESSAGES = [{"role": "user", "content": "What now?"}]


def buckets(key: str) -> str:
    return f"personadual:{{limit:{key.split('-')[1]}}}:buckets"


def scripts(redis: Redis) -> int:
    stats: Any = redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_requests_per_minute_are_exact_across_gateways(
    start_gateway: Starter, fake: FakeEngine, script: Script, redis_server: RedisServer
) -> None:
    """80 at once against two gateways: the bucket's 20, and what flows in meanwhile."""
    gateways = [start_gateway(fake.url) for _ in range(2)]
    key = new_key(redis_server.url, limits=Limits(requests_per_minute=20))
    chat(gateways[0].url), chat(gateways[1].url)
    begun = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: chat(gateways[n % 2].url, key=key), range(80)))
    most = 20 + int((time.monotonic() - begun) * 20 / 60)
    statuses = [answer.status for answer in answers]
    assert 20 <= statuses.count(200) <= most
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    error = refused.json["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert "x-should-retry" not in refused.headers
    counted = sum(
        value(scrape(g), f'personadual_limit_checks_total{{outcome="{outcome}"}}')
        for g in gateways
        for outcome in ("admitted", "requests")
    )
    assert counted == 80


@pytest.mark.parametrize("stream", [False, True])
def test_headers_and_charges(
    gateway: Gateway, script: Script, redis_server: RedisServer, stream: bool
) -> None:
    """Tokens are charged by the engine's count when the answer ends, streamed or not."""
    limits = Limits(requests_per_minute=600, tokens_per_minute=1000)
    key = new_key(redis_server.url, limits=limits)
    first = chat(gateway.url, key=key, stream=stream)
    assert first.headers["x-ratelimit-limit-requests"] == "600"
    assert first.headers["x-ratelimit-remaining-requests"] == "599"
    assert first.headers["x-ratelimit-reset-requests"] == "100ms"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert first.headers["x-ratelimit-remaining-tokens"] == "1000"
    free = new_key(redis_server.url)
    usage = chat(gateway.url, key=free).json["usage"]
    second = chat(gateway.url, key=key, stream=stream)
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 1000 - usage["total_tokens"] <= left < 1000
    assert "x-ratelimit-limit-requests" not in chat(gateway.url, key=free).headers


STRICT = {"personadual": {"isolation": "strict", "persona": "Ada is vegan."}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "first"),
    [({}, 0), (STRICT, 10 + 2), ({"logprobs": True, "top_logprobs": 2}, 10 + 2)],
    ids=["shared", "strict", "top_logprobs"],
)
def test_a_decision_that_takes_a_request_of_its_own_is_paid(
    gateway: Gateway,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    fields: dict[str, Any],
    first: int,
    stream: bool,
) -> None:
    """Its prompt of 10 tokens, and those up to the decision, beside the answer's 20."""
    key = new_key(redis_server.url, limits=Limits(tokens_per_minute=10_000))
    assert chat(gateway.url, key=key, stream=stream, **fields).status == 200
    left = float(str(redis.hget(buckets(key), "tokens")))
    assert 10_000 - left == pytest.approx(20 + first, abs=0.01)
    text = scrape(gateway)
    counted = [
        value(text, f'personadual_tokens_total{{kind="{kind}",mode="general"}}')
        for kind in ("prompt", "completion")
    ]
    assert counted == [10, 10], "as the answer's usage says"


def test_a_bucket_in_debt_admits_nobody_and_cuts_nothing(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """An answer may cost more than is left; the next one waits until the debt is paid."""
    key = new_key(redis_server.url, limits=Limits(tokens_per_minute=5))
    assert chat(gateway.url, key=key).status == 200
    refused = call(gateway.url, "/v1/mode", {"messages": MESSAGES}, headers=bearer(key))
    assert refused.status == 429
    assert "tokens per minute" in refused.json["error"]["message"]
    assert int(refused.headers["retry-after"]) > 60
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert refused.headers["x-ratelimit-reset-tokens"].startswith(("3m", "4m"))


def test_what_limits_cost(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    """Counted by Redis: none without limits, one script with, one more where an end is told."""
    costs = {}
    for name, limits in {
        "none": Limits(),
        "requests": Limits(requests_per_minute=1000),
        "tokens": Limits(tokens_per_minute=100_000),
        "all": Limits(1000, 100_000, 5),
    }.items():
        key = new_key(redis_server.url, limits=limits)
        chat(gateway.url, key=key)
        before = scripts(redis)
        for _ in range(10):
            assert chat(gateway.url, key=key).status == 200
        costs[name] = (scripts(redis) - before) / 10
    assert costs == {"none": 0, "requests": 1, "tokens": 2, "all": 2}


def test_the_official_client_waits_and_comes_back(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    """An empty bucket that fills by one in 0.6 s: refused, then served; without retries not."""
    key = new_key(redis_server.url, limits=Limits(requests_per_minute=100))
    client = gateway.client.with_options(api_key=key)

    def ask(retries: int) -> Any:
        seconds, micros = redis.time()
        now_ms = seconds * 1000 + micros / 1000
        redis.hset(buckets(key), mapping={"requests": 0, "tokens": 0, "at": now_ms})
        return client.with_options(max_retries=retries).chat.completions.create(
            model="pocket", messages=MESSAGES
        )

    with pytest.raises(RateLimitError, match="requests per minute"):
        ask(0)
    begun = time.monotonic()
    assert ask(2).choices[0].message.content == "Cook a stew."
    assert time.monotonic() - begun > 0.5
    refused = value(scrape(gateway), 'personadual_limit_checks_total{outcome="requests"}')
    assert refused == 2


@pytest.mark.parametrize(("setting", "status"), [("admit", 200), ("refuse", 503)])
def test_redis_away(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    setting: str,
    status: int,
) -> None:
    """Open or closed, by setting; what was admitted unchecked is counted."""
    gateway = start_gateway(fake.url, limits_when_store_away=setting)
    key = new_key(redis_server.url, limits=Limits(100, 100_000, 3))
    assert chat(gateway.url, key=key).status == 200
    redis_server.stop()
    try:
        for _ in range(3):
            assert chat(gateway.url, key=key).status == status
        unchecked = value(scrape(gateway), 'personadual_limit_checks_total{outcome="unchecked"}')
        assert unchecked == 3
    finally:
        redis_server.start()
    time.sleep(1.1)
    assert chat(gateway.url).status in (200, 401)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.12, "120ms"), (1, "1s"), (1.54, "1.5s"), (360, "6m0s"), (-1, "0ms")]
)
def test_durations_are_written_as_openai_does(seconds: float, shown: str) -> None:
    assert _duration(seconds) == shown
