"""Personas: the HTTP resource, the store in a real Redis, and the cache."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, Starter, wait_until


def metric(gateway: Gateway, line: str) -> float:
    for row in call(gateway.url, "/metrics").body.decode().splitlines():
        if row.startswith(line + " "):
            return float(row.split()[-1])
    return 0.0


def test_a_persona_over_http(gateway: Gateway) -> None:
    """Put, get, put again, delete; the version counts the writes."""
    first = put_persona(gateway.url, "ada", "Ada.\nLisbon.", attributes={"age": 7, "vip": True})
    assert first["version"] == 1
    assert call(gateway.url, "/v1/personas/ada").json == first
    assert first["attributes"] == {"age": 7, "vip": True}
    assert first["updated_at"].endswith("+00:00")
    assert put_persona(gateway.url, "ada", "Ada.")["version"] == 2
    assert call(gateway.url, "/v1/personas/ada", method="DELETE").json == {
        "id": "ada",
        "deleted": True,
    }
    for method in ("GET", "DELETE"):
        gone = call(gateway.url, "/v1/personas/ada", method=method)
        assert (gone.status, gone.json["error"]["code"]) == (404, "persona_not_found")


@pytest.mark.parametrize(
    ("persona_id", "body", "field"),
    [
        ("ada", {}, "text"),
        ("ada", {"text": ""}, "text"),
        ("ada", {"text": "x" * 8_001}, "text"),
        ("ada", {"text": "a\u0007b"}, "text"),
        ("ada", {"text": 5}, "text"),
        ("ada", {"text": "a", "attributes": {"a": None}}, "attributes.a"),
        ("ada", {"text": "a", "ttl_s": 0}, "ttl_s"),
        ("ada", {"text": "a", "profile": 1}, "profile"),
        ("ada", [], "body"),
        ("a%20b", {"text": "a"}, "persona_id"),
        ("a%0Ab", {"text": "a"}, "persona_id"),
        ("x" * 200, {"text": "a"}, "persona_id"),
    ],
)
def test_wrong_personas_are_refused(
    gateway: Gateway, persona_id: str, body: Any, field: str
) -> None:
    answer = call(gateway.url, f"/v1/personas/{persona_id}", body, method="PUT")
    assert answer.status == 400
    assert answer.json["error"]["param"] == field
    assert call(gateway.url, "/v1/personas").json["ids"] == []


def test_a_persona_says_how_long_it_lives(gateway: Gateway, script: Script, redis: Redis) -> None:
    """What is left, whoever wrote it and however; null for ever. Answers ask for none of it."""

    def left() -> Any:
        return call(gateway.url, "/v1/personas/ada").json["ttl_s"]

    assert (put_persona(gateway.url, "ada", "Ada.")["ttl_s"], left()) == (None, None)
    assert put_persona(gateway.url, "ada", "Ada.", ttl_s=1_000)["ttl_s"] == 1_000
    redis.expire("personadual:{default}:persona:ada", 500)
    assert left() in range(490, 501)
    changed = call(gateway.url, "/v1/personas/ada", {"text": "New."}, method="PATCH").json
    assert changed["ttl_s"] in range(490, 501)
    put_persona(gateway.url, "bob", "Bob.", ttl_s=1_000)
    asked: Any = redis.info("commandstats")
    chat(gateway.url, user="bob")
    stats: Any = redis.info("commandstats")
    assert stats["cmdstat_get"]["calls"] == asked["cmdstat_get"]["calls"] + 1
    for command in ("cmdstat_ttl", "cmdstat_eval"):
        assert stats[command]["calls"] == asked[command]["calls"]


def test_no_persona_is_used_beyond_its_end(gateway: Gateway, script: Script) -> None:
    """Cached, and not asked for in the meantime; whether it was put so or changed."""
    put_persona(gateway.url, "ada", "Ada.", ttl_s=1)
    put_persona(gateway.url, "bob", "Bob.", ttl_s=1)
    put_persona(gateway.url, "eve", "Eve.", ttl_s=1)
    changes: dict[str, Any] = {"bob": {"text": "New."}, "eve": {"ttl_s": None}}
    for name, change in changes.items():
        assert call(gateway.url, f"/v1/personas/{name}", change, method="PATCH").status == 200
    ended = time.monotonic() + 1.0
    names = ("ada", "bob", "eve")

    def statuses() -> list[str]:
        answers = [chat(gateway.url, user=name) for name in names]
        return [answer.json["personadual"]["persona"]["status"] for answer in answers]

    assert statuses() == ["applied"] * 3
    time.sleep(max(0.0, ended - time.monotonic()) + 0.1)
    assert statuses() == ["absent", "absent", "applied"]


def test_pages(gateway: Gateway) -> None:
    """Ids in order, each once, the last page without `next_after`."""
    names = [f"u{index:02d}" for index in range(7)]
    for name in reversed(names):
        put_persona(gateway.url, name, "x")
    seen, after = [], ""
    for size in (3, 3, 1):
        query = f"?limit=3{f'&after={after}' if after else ''}"
        page = call(gateway.url, f"/v1/personas{query}").json
        assert len(page["ids"]) == size
        seen += page["ids"]
        after = page["next_after"]
    assert (seen, after) == (names, None)
    for query in ("limit=0", "limit=9999", "limit=x", "after=a%20b"):
        refused = call(gateway.url, f"/v1/personas?{query}")
        assert (refused.status, refused.json["error"]["param"]) == (400, query.split("=")[0])


def test_a_persona_with_a_time_to_live_goes(gateway: Gateway, redis: Redis) -> None:
    """Also from the list, whose index knows nothing of time."""
    put_persona(gateway.url, "ada", "x", ttl_s=1)
    put_persona(gateway.url, "bob", "x")
    assert call(gateway.url, "/v1/personas").json["ids"] == ["ada", "bob"]
    wait_until(lambda: call(gateway.url, "/v1/personas/ada").status == 404, 3)
    assert call(gateway.url, "/v1/personas").json["ids"] == ["bob"]
    assert redis.zcard("personadual:{default}:personas") == 1


@pytest.mark.parametrize("is_import", [False, True])
def test_an_index_that_nobody_lists_stays_bounded(
    gateway: Gateway, redis: Redis, is_import: bool
) -> None:
    """200 personas live at a time and their ids are new each time: without end they would pile up
    at 200 a round. None of those that live is lost."""
    index = "personadual:{default}:personas"
    for number in range(8):
        if before := redis.keys("personadual:{default}:persona:*"):
            redis.delete(*before)  # as the end of their time does
        rows = [{"id": f"u{number}-{n}", "text": "x", "ttl_s": 60} for n in range(200)]
        if is_import:
            body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
            assert call(gateway.url, "/v1/personas/import", body).json["written"] == 200
        else:
            for row in rows:
                put_persona(gateway.url, row["id"], "x", ttl_s=60)
        assert redis.zcard(index) < 500
        assert set(redis.zrange(index, 0, -1)) >= {row["id"] for row in rows}


def test_keys_carry_the_tenant(start_gateway: Starter, fake: FakeEngine, redis: Redis) -> None:
    """Two tenants on one Redis do not see each other."""
    one, two = (start_gateway(fake.url, tenant=name) for name in ("one", "two"))
    put_persona(one.url, "ada", "Of one.")
    stored = json.loads(str(redis.get("personadual:{one}:persona:ada")))
    assert stored["text"] == "Of one."
    assert call(two.url, "/v1/personas/ada").status == 404
    assert call(two.url, "/v1/personas").json["ids"] == []


def test_every_gateway_sees_a_write_within_a_second(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """Both have it cached; the writer tells the other by publish/subscribe."""
    one, two = start_gateway(fake.url), start_gateway(fake.url)
    time.sleep(0.2)  # both are subscribed

    def seen(gateway: Gateway) -> Any:
        return chat(gateway.url, user="ada").json["personadual"]["persona"]["version"]

    assert (seen(one), seen(two)) == (None, None)  # absence is cached too
    for version in (1, 2):
        put_persona(one.url, "ada", f"Version {version}.")
        begun = time.monotonic()
        assert seen(one) == version
        wait_until(lambda version=version: seen(two) == version, 1)
        assert time.monotonic() - begun < 1.0
    call(two.url, "/v1/personas/ada", method="DELETE")
    wait_until(lambda: seen(one) is None, 1)


def test_a_cached_persona_costs_no_round_trip(
    gateway: Gateway, script: Script, redis: Redis
) -> None:
    """At most one lookup per request, none on a hit: counted by Redis itself."""
    put_persona(gateway.url, "ada", "x")
    time.sleep(0.2)

    def gets() -> int:
        stats: Any = redis.info("commandstats")
        return int(stats.get("cmdstat_get", {"calls": 0})["calls"])

    chat(gateway.url, user="ada")
    before = gets()
    for _ in range(20):
        chat(gateway.url, user="ada")
        chat(gateway.url, user="nobody")
    assert gets() - before == 1  # the first look at "nobody"
    assert metric(gateway, 'personadual_persona_lookups_total{outcome="cached"}') == 39
