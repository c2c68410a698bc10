"""Personas changed by JSON merge patch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from testbed.http import call, put_persona
from tests.conftest import Gateway


def patch(gateway: Gateway, body: Any, persona_id: str = "ada") -> Any:
    return call(gateway.url, f"/v1/personas/{persona_id}", body, method="PATCH")


def test_a_patch_changes_what_it_names(gateway: Gateway, redis: Redis) -> None:
    """JSON merge patch: null takes away, the rest stays, the version counts up."""
    put_persona(gateway.url, "ada", "Ada.", attributes={"city": "Lisbon", "age": 36}, ttl_s=1000)
    changed = patch(gateway, {"attributes": {"city": "Porto", "vip": True, "age": None}}).json
    assert changed["attributes"] == {"city": "Porto", "vip": True}
    assert (changed["text"], changed["version"]) == ("Ada.", 2)
    assert call(gateway.url, "/v1/personas/ada").json | {"ttl_s": changed["ttl_s"]} == changed
    key = "personadual:{default}:persona:ada"
    assert redis.ttl(key) in range(990, 1001), "the time to live runs on"
    assert patch(gateway, {"text": "New.", "ttl_s": 50}).json["text"] == "New."
    assert redis.ttl(key) in range(45, 51)
    assert patch(gateway, {"ttl_s": None, "attributes": None}).json["attributes"] == {}
    assert redis.ttl(key) == -1
    assert patch(gateway, {}).json["version"] == 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": None}, "text"),
        ({"text": ""}, "text"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"profile": 1}, "profile"),
        ({"attributes": {"a": {}}}, "attributes.a"),
        ({"attributes": {f"n{index}": 1 for index in range(65)}}, "attributes"),
        ([], "body"),
    ],
)
def test_wrong_patches_are_refused(gateway: Gateway, body: Any, field: str) -> None:
    """Also where only the whole that they would make is wrong; nothing is written."""
    stored = put_persona(gateway.url, "ada", "Ada.")
    answer = patch(gateway, body)
    assert (answer.status, answer.json["error"]["param"]) == (400, field)
    assert call(gateway.url, "/v1/personas/ada").json == stored
    assert patch(gateway, {"text": "x"}, "nobody").status == 404


def test_patches_at_the_same_time_are_all_kept(gateway: Gateway) -> None:
    """Each sees the others': none overwrites what it has not read."""
    put_persona(gateway.url, "ada", "Ada.")
    with ThreadPoolExecutor(8) as pool:
        bodies = [{"attributes": {f"n{index}": index}} for index in range(40)]
        statuses = {answer.status for answer in pool.map(lambda body: patch(gateway, body), bodies)}
    assert statuses == {200}
    ada = call(gateway.url, "/v1/personas/ada").json
    assert ada["attributes"] == {f"n{index}": index for index in range(40)}
    assert ada["version"] == 41
