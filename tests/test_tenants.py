"""Tenants: one can neither read, write, guess nor time what is another's."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from redis import Redis

from app.access.policy import Rule
from model.mode import ModeWish
from testbed.fake_engine import Script, sent
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer


def test_a_tenant_has_its_own_personas(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """The same id, two tenants, every way of naming it: each gets its own, and nobody else's."""
    keys = {tenant: new_key(redis_server.url, tenant) for tenant in ("one", "two")}
    for tenant, key in keys.items():
        body = {"text": f"Ada of {tenant}."}
        put = call(gateway.url, "/v1/personas/ada", body, method="PUT", headers=bearer(key))
        assert put.json["version"] == 1
    for tenant, key in keys.items():
        stored = call(gateway.url, "/v1/personas/ada", headers=bearer(key)).json
        assert stored["text"] == f"Ada of {tenant}."
        for fields in (
            {"user": "ada"},
            {"safety_identifier": "ada"},
            {"personadual": {"persona_id": "ada"}},
        ):
            chat(gateway.url, key=key, **fields)
            prompt = json.dumps(sent(script))
            assert f"Ada of {tenant}." in prompt
            assert prompt.count("Ada of") == 1
    gone = call(gateway.url, "/v1/personas/ada", method="DELETE", headers=bearer(keys["one"]))
    assert gone.status == 200
    assert call(gateway.url, "/v1/personas/ada", headers=bearer(keys["two"])).status == 200
    assert call(gateway.url, "/v1/personas", headers=bearer(keys["one"])).json["ids"] == []
    assert call(gateway.url, "/v1/personas", headers=bearer(keys["two"])).json["ids"] == ["ada"]


def test_no_name_leads_to_another_tenant(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    """Ids that look like keys of the store stay ids of the caller's tenant."""
    theirs = new_key(redis_server.url, "two")
    call(gateway.url, "/v1/personas/ada", {"text": "okapi"}, method="PUT", headers=bearer(theirs))
    mine = new_key(redis_server.url, "one")
    for guess in (
        "two:ada",
        "two|ada",
        "two~ada",
        "@two:persona:ada",
        "two%0Aada",
        "..%2Ftwo%2Fada",
    ):
        answer = call(gateway.url, f"/v1/personas/{guess}", headers=bearer(mine))
        assert answer.status in (400, 404)
        assert b"okapi" not in answer.body
    for header in ("X-Tenant", "X-Personadual-Tenant"):
        answer = call(gateway.url, "/v1/personas/ada", headers={**bearer(mine), header: "two"})
        assert answer.status == 404


def test_what_is_anothers_and_what_is_not_there_are_the_same(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    """The same answer to the byte, and the same work, as Redis counts it: nothing to time."""
    theirs, mine = (new_key(redis_server.url, name) for name in ("two", "one"))
    call(gateway.url, "/v1/personas/ada", {"text": "x"}, method="PUT", headers=bearer(theirs))
    chat(gateway.url, key=theirs, user="ada")
    chat(gateway.url, key=mine)

    def cost(act: Any) -> tuple[Any, dict[str, int]]:
        before: Any = redis.info("commandstats")
        answer = act()
        after: Any = redis.info("commandstats")
        calls = {
            name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
            for name, stats in after.items()
            if name not in ("cmdstat_info", "cmdstat_ping")
        }
        return answer, {name: count for name, count in calls.items() if count}

    for method in ("GET", "DELETE"):
        ask = partial(call, gateway.url, method=method, headers=bearer(mine))
        (one, work), (other, same) = (
            cost(partial(ask, f"/v1/personas/{name}")) for name in ("ada", "bob")
        )
        assert (one.status, one.body) == (other.status, other.body) == (404, other.body)
        assert work == same != {}
    (one, work), (other, same) = (
        cost(partial(chat, gateway.url, key=mine, user=name)) for name in ("ada", "bob")
    )
    personas = [answer.json["personadual"]["persona"] for answer in (one, other)]
    assert [persona["status"] for persona in personas] == ["absent", "absent"]
    assert work == same == {"cmdstat_get": 1}


def test_prefix_caches_are_apart(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """A salt per tenant and user, and per tenant where there is no user: no prompt is timed."""
    salts = set()
    for tenant in ("one", "two"):
        key = new_key(redis_server.url, tenant)
        for fields in ({}, {"user": "ada"}, {"personadual": {"persona": "ada cooks"}}):
            chat(gateway.url, key=key, **fields)
            salts.add(sent(script)["cache_salt"])
    assert len(salts) == 6


def test_a_key_has_its_own_dial(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """Its default mode, named as the rule; a fixed one refuses to be changed, by field."""
    url = redis_server.url
    general = new_key(url, dial=Rule(mode=ModeWish.GENERAL))
    taken = chat(gateway.url, key=general).json["personadual"]
    assert (taken["mode"], taken["source"], taken["rule"]) == ("general", "policy", "key")
    free = chat(gateway.url, key=general, personadual={"mode": "personalized"}).json["personadual"]
    assert (free["source"], "rule" in free) == ("request", False)
    fixed = new_key(url, dial=Rule(mode=ModeWish.GENERAL, may_override=False))
    for fields, field in (
        ({"personadual": {"mode": "personalized"}}, "personadual.mode"),
        ({"model": "pocket-personalized"}, "model"),
        ({"personadual": {"threshold": 0.1}}, "personadual.threshold"),
        ({"personadual": {"decision": "sample"}}, "personadual.decision"),
    ):
        refused = chat(gateway.url, key=fixed, **fields)
        error = refused.json["error"]
        assert (refused.status, error["code"], error["param"]) == (
            403,
            "override_not_allowed",
            field,
        )
    same = chat(gateway.url, key=fixed, personadual={"mode": "general"}).json["personadual"]
    assert (same["source"], same["rule"]) == ("policy", "key")
    bound = new_key(url, dial=Rule(threshold=0.9))
    assert chat(gateway.url, key=bound).json["personadual"]["source"] == "threshold"
