"""Personas as JSON lines: import and export over HTTP, a line at a time."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from app.jsonl import EXPORT_PATH as EXPORT
from app.jsonl import IMPORT_PATH as IMPORT
from app.jsonl import MAX_ERRORS, MAX_LINE_BYTES, LineSplitter
from testbed.fake_engine import FakeEngine, Script
from testbed.http import bearer, call, chat, put_persona
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until


def lines_of(*rows: Any) -> bytes:
    """JSON lines; text goes in as it is."""
    return b"".join((r if isinstance(r, str) else json.dumps(r)).encode() + b"\n" for r in rows)


def upload(gateway: Gateway, *rows: Any, **more: Any) -> Any:
    answer = call(gateway.url, IMPORT, lines_of(*rows), **more)
    assert answer.status == 200, answer.body
    return answer.json


def exported(gateway: Gateway, query: str = "", **more: Any) -> list[Any]:
    answer = call(gateway.url, EXPORT + query, **more)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_lines_are_the_same_for_every_cut(pieces: list[bytes], size: int) -> None:
    """Whatever the network makes of an upload; a line over the limit is one None."""
    text = b"\n".join(piece.replace(b"\n", b"") for piece in pieces)
    splitter = LineSplitter(max_bytes=8)
    found = []
    for start in range(0, len(text), size):
        found += splitter.feed(text[start : start + size])
    found.append(splitter.end())
    assert found == [line if len(line) <= 8 else None for line in text.split(b"\n")]


def test_an_import_writes_what_is_good_and_reports_the_rest(gateway: Gateway) -> None:
    """Each wrong line by its number and field; blank lines and a mark at the start are no harm."""
    body = b"\xef\xbb\xbf" + lines_of(
        {"id": "ada", "text": "Ada.", "attributes": {"age": 36, "vip": True, "rate": 1.5}},
        "",
        "{not json",
        {"id": "bob"},
        {"id": "a b", "text": "x"},
        {"id": "cy", "text": "x", "profile": 1},
        {"id": "export", "text": "x"},
        {"id": "dee", "text": "Dee.", "ttl_s": 100},
        {"id": "eve", "text": "x", "attributes": {"city": ["Porto"]}},
        "[1]",
        {"id": "fay", "text": "a\u0007b"},
    )
    report = call(gateway.url, IMPORT, body.removesuffix(b"\n")).json
    assert (report["lines"], report["written"], report["refused"]) == (11, 2, 8)
    assert [(error["line"], error["field"]) for error in report["errors"]] == [
        (3, "line"),
        (4, "text"),
        (5, "id"),
        (6, "profile"),
        (7, "id"),
        (9, "attributes.city"),
        (10, "line"),
        (11, "text"),
    ]
    assert call(gateway.url, "/v1/personas").json["ids"] == ["ada", "dee"]
    ada = call(gateway.url, "/v1/personas/ada").json
    assert ada["attributes"] == {"age": 36, "vip": True, "rate": 1.5}


def test_reports_and_lines_are_bounded(gateway: Gateway) -> None:
    """A line that never seems to end is one error, and what follows it is read."""
    endless = "x" * (MAX_LINE_BYTES + 1)
    report = upload(gateway, *["?"] * 150, endless, {"id": "ada", "text": "x"})
    assert (report["lines"], report["refused"], report["written"]) == (152, 151, 1)
    assert len(report["errors"]) == MAX_ERRORS
    report = upload(gateway, endless)
    assert "limit" in report["errors"][0]["message"]


def test_an_import_is_not_bound_by_the_limit_of_bodies(
    start_gateway: Starter, fake: FakeEngine
) -> None:
    """It has its own, with and without a length that is told before."""
    gateway = start_gateway(fake.url, max_body_bytes=10_000, max_import_bytes=100_000)
    rows = [{"id": f"u{index}", "text": "x" * 900} for index in range(100)]
    assert upload(gateway, *rows)["written"] == 100
    too_much = lines_of(*rows, *rows)
    assert call(gateway.url, IMPORT, too_much).status == 413
    assert chunked(gateway, [too_much[:90_000], too_much[90_000:]]) == 413
    assert call(gateway.url, "/v1/personas/ada", {"text": "x" * 20_000}, method="PUT").status == 413


def chunked(gateway: Gateway, pieces: list[bytes] | Iterator[bytes]) -> int:
    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("POST", IMPORT, iter(pieces), encode_chunked=True)
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_upload_is_written_while_it_comes(gateway: Gateway, redis: Redis) -> None:
    """Batch by batch: nothing waits for its end."""
    may_end = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield lines_of(*({"id": f"u{index:03d}", "text": "x"} for index in range(250)))
        may_end.wait(10)

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(chunked, gateway, pieces())
        try:
            wait_until(lambda: redis.zcard("personadual:{default}:personas") == 200, 5)
        finally:
            may_end.set()
        assert uploading.result() == 200
    assert redis.zcard("personadual:{default}:personas") == 250


def test_every_gateway_forgets_what_was_imported(
    start_gateway: Starter, fake: FakeEngine, script: Script, redis: Redis
) -> None:
    """One message of the channel for a batch, not one for each persona."""
    one, two = start_gateway(fake.url), start_gateway(fake.url)
    time.sleep(0.2)  # both are subscribed

    def seen(gateway: Gateway, user: str) -> Any:
        return chat(gateway.url, user=user).json["personadual"]["persona"]["version"]

    users = [f"u{index:03d}" for index in range(300)]
    for user in users[::60]:
        assert (seen(one, user), seen(two, user)) == (None, None)

    def published() -> int:
        stats: Any = redis.info("commandstats")
        return int(stats.get("cmdstat_publish", {"calls": 0})["calls"])

    for version in (1, 2):
        before = published()
        upload(one, *({"id": user, "text": f"Version {version}."} for user in users))
        assert published() - before == 3
        for user in users[::60]:
            assert seen(one, user) == version
            wait_until(lambda user=user, version=version: seen(two, user) == version, 1)


def test_the_last_of_two_lines_with_one_id_counts(gateway: Gateway) -> None:
    upload(gateway, {"id": "ada", "text": "Old."}, {"id": "ada", "text": "New."})
    ada = call(gateway.url, "/v1/personas/ada").json
    assert (ada["text"], ada["version"]) == ("New.", 2)


def test_an_import_says_how_far_it_got_when_redis_goes(
    gateway: Gateway, redis_server: RedisServer
) -> None:
    def pieces() -> Iterator[bytes]:
        yield lines_of(*({"id": f"u{index:03d}", "text": "x"} for index in range(100)))
        wait_until(lambda: call(gateway.url, "/v1/personas/u099").status == 200)
        redis_server.stop()
        yield lines_of(*({"id": f"v{index:03d}", "text": "x"} for index in range(100)))

    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("POST", IMPORT, pieces(), encode_chunked=True)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    finally:
        connection.close()
        redis_server.start()
    assert (answer.status, error["code"]) == (503, "store_unavailable")
    assert "100 personas are written, of the first 100 lines" in error["message"]


def test_an_export_is_what_an_import_takes(gateway: Gateway) -> None:
    """In the order of ids, over several pages, times to live included; `after` goes on."""
    rows = [{"id": f"u{index:03d}", "text": f"Text\n{index} é."} for index in range(250)]
    rows[7] |= {"attributes": {"n": 7, "x": 7.0, "is": False}, "ttl_s": 1000}
    upload(gateway, *reversed(rows))
    found = exported(gateway)
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert found[7]["attributes"] == {"n": 7, "x": 7.0, "is": False}
    assert found[7]["ttl_s"] in range(990, 1001)
    assert "ttl_s" not in found[8]
    assert upload(gateway, *found)["written"] == 250
    again = exported(gateway)
    kept = ("id", "text", "attributes")
    assert [[row[k] for k in kept] for row in again] == [[row[k] for k in kept] for row in found]
    assert {row["version"] for row in again} == {2}
    assert exported(gateway, "?after=u123") == again[124:]
    assert exported(gateway, "?after=u249") == []
    refused = call(gateway.url, EXPORT + "?after=a%20b")
    assert (refused.status, refused.json["error"]["param"]) == (400, "after")


@pytest.mark.parametrize("name", ["import", "export", ".", ".."])
def test_no_id_that_its_path_would_not_reach(gateway: Gateway, name: str) -> None:
    """Not by a line of an upload, and not by a path that a raw client sends."""
    report = upload(gateway, {"id": name, "text": "x"})
    assert (report["written"], report["errors"][0]["field"]) == (0, "id")
    assert exported(gateway) == []
    put = call(gateway.url, f"/v1/personas/{name}", {"text": "x"}, method="PUT")
    assert put.status in (400, 405)
    assert exported(gateway) == []


def test_an_export_names_what_it_cannot_read(gateway: Gateway, redis: Redis) -> None:
    """It goes on behind it; an import of that line reports it, and a put mends it."""
    for name in ("ada", "bob", "cy"):
        put_persona(gateway.url, name, "x")
    redis.set("personadual:{default}:persona:bob", "okapi")
    found = exported(gateway)
    assert [row["id"] for row in found] == ["ada", "bob", "cy"]
    assert found[1] == {"id": "bob", "unreadable": True}
    assert upload(gateway, *found)["errors"][0]["line"] == 2
    assert put_persona(gateway.url, "bob", "x")["version"] == 1


def test_an_export_ends_with_the_error_that_stopped_it(
    start_gateway: Starter, fake: FakeEngine, redis_server: RedisServer
) -> None:
    """Before its first byte it is a plain 503."""
    gateway = start_gateway(fake.url)
    text = "x" * 8_000
    upload(gateway, *({"id": f"u{index:04d}", "text": text} for index in range(2_000)))
    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", EXPORT)
    answer = connection.getresponse()
    first = json.loads(answer.readline())
    redis_server.stop()
    try:
        *_, last = answer.read().splitlines()
        connection.close()
        assert first["id"] == "u0000"
        assert json.loads(last)["error"]["code"] == "store_unavailable"
        assert call(gateway.url, EXPORT).status == 503
    finally:
        redis_server.start()


def test_import_and_export_stay_in_the_tenant_of_the_key(
    gateway: Gateway, redis_server: RedisServer, redis: Redis
) -> None:
    one, two = (bearer(new_key(redis_server.url, tenant)) for tenant in ("one", "two"))
    only_chat = bearer(new_key(redis_server.url, "one", ["chat"]))
    upload(gateway, {"id": "ada", "text": "Of one."}, headers=one)
    assert [row["text"] for row in exported(gateway, headers=one)] == ["Of one."]
    assert exported(gateway, headers=two) == []
    assert (
        call(gateway.url, "/v1/personas/ada", {"text": "x"}, method="PATCH", headers=two).status
        == 404
    )
    for method, path in (("POST", IMPORT), ("GET", EXPORT), ("PATCH", "/v1/personas/ada")):
        assert call(gateway.url, path, b"{}", method=method, headers=only_chat).status == 403
        assert call(gateway.url, path, b"{}", method=method).status == 401


def test_the_names_of_the_routes_are_no_ids(gateway: Gateway) -> None:
    for name in ("import", "export"):
        refused = call(gateway.url, f"/v1/personas/{name}", {"text": "x"}, method="PUT")
        assert (refused.status, refused.json["error"]["param"]) == (400, "persona_id")
