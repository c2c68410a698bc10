"""API keys: made, listed and revoked, seen at once by running gateways; roles; Redis away."""

from __future__ import annotations

import json
import logging
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, PermissionDeniedError
from pydantic import SecretStr
from redis import Redis
from typer.testing import CliRunner

from app.access.keys import KeyRing, Role, make_key
from app.commands.key import app as key_app
from app.main import open_store
from app.settings import Settings
from model.errors import StartFailed, StoreUnavailable
from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import bearer, call, chat
from tests.api_keys import command, new_key
from tests.conftest import Gateway, RedisServer, wait_until
from tests.fake_store import HeldKeys
from tests.test_metrics import scrape, value


def test_a_key_is_made_listed_and_revoked_by_command(
    gateway: Gateway, script: Script, redis_server: RedisServer, redis: Redis
) -> None:
    """The running gateway follows at once; the store never holds the key itself."""
    url = redis_server.url
    assert chat(gateway.url).status == 200, "no key yet, and this is the loopback address"
    made = command(url, "key", "create", "web", "--tenant", "acme", "--requests-per-minute", "60")
    key = made.stdout.strip()
    assert (made.returncode, len(key)) == (0, 63)
    wait_until(lambda: chat(gateway.url).status == 401, 1)
    assert chat(gateway.url, key=key).status == 200
    assert key not in "".join(str(redis.hgetall("personadual:{keys}:records")))

    listed = command(url, "key", "list").stdout
    key_id = key.split("-")[1]
    row = next(line for line in listed.splitlines() if key_id in line)
    for shown in ("web", "acme", "chat personas", "60 requests/min"):
        assert shown in row
    as_json = json.loads(command(url, "key", "list", "--json").stdout)
    assert as_json[0]["id"] == key_id
    assert "digest" not in as_json[0]
    long = command(url, "key", "create", "w" * 60, "--tenant", "t" * 60).stdout.strip()
    assert long.split("-")[1] in command(url, "key", "list").stdout, "cut to the width of a pipe"

    assert command(url, "key", "revoke", key_id).returncode == 0
    wait_until(lambda: chat(gateway.url, key=key).status == 401, 1)
    assert chat(gateway.url).status == 401, "revoking the last key opens nothing"
    told = command(url, "key", "revoke", long.split("-")[1], "--json").stdout
    assert json.loads(told) == {"id": long.split("-")[1], "revoked": True}
    again = command(url, "key", "revoke", key_id)
    assert again.returncode == 1
    assert again.stderr.startswith("personadual: there is no key with this id")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["x", "--threshold", "2"], "--threshold: "),
        (["x", "--mode", "sometimes"], "--mode: "),
        (["x", "--tenant", "a b"], "--tenant: "),
        (["x", "--concurrent", "0"], "--concurrent: "),
        (["x", "--requests-per-minute", "0"], "--requests-per-minute: "),
        (["x", *["--role", "chat"] * 4], "--role: "),
        (["a/b"], "NAME: "),
    ],
)
def test_a_wrong_wish_is_one_line_that_names_the_option(
    redis_server: RedisServer, arguments: list[str], option: str
) -> None:
    env = {"PERSONADUAL_REDIS_URL": redis_server.url}
    done = CliRunner().invoke(key_app, ["create", *arguments], env=env)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"personadual: {option}")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_command_without_redis_says_what_to_do() -> None:
    done = command("redis://:okapi@127.0.0.1:9", "key", "list")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "PERSONADUAL_REDIS_URL" in done.stderr
    assert "okapi" not in done.stderr


@pytest.mark.parametrize("url", ["redis://:oka#pi@host", "redis://:oka/pi@host", "http://okapi"])
def test_what_is_no_redis_url_is_said_without_it(url: str) -> None:
    """By the commands in a line, and by a gateway at its start; a password may be part of it."""
    done = command(url, "key", "list")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "PERSONADUAL_REDIS_URL is not a Redis URL" in done.stderr
    with pytest.raises(StartFailed) as told:
        open_store(Settings(redis_url=SecretStr(url)))
    trace = "".join(traceback.format_exception(told.value))
    assert "oka" not in done.stderr + trace


def test_the_admin_api(
    gateway: Gateway, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Make, list, revoke; one audit line each, without a secret; refusals name the field."""
    caplog.set_level(logging.INFO, "personadual.audit")
    admin = new_key(redis_server.url, roles=(Role.ADMIN,))
    body = {"name": "web", "tenant": "acme", "roles": ["chat"], "limits": {"concurrent": 3}}
    made = call(gateway.url, "/v1/keys", body, headers=bearer(admin))
    assert made.status == 200
    key = made.json["key"]
    assert chat(gateway.url, key=key).status == 200
    listed = call(gateway.url, "/v1/keys", headers=bearer(admin)).json["keys"]
    assert {entry["name"] for entry in listed} == {"test", "web"}
    assert key not in json.dumps(listed)
    path = f"/v1/keys/{made.json['id']}"
    revoke = lambda: call(gateway.url, path, method="DELETE", headers=bearer(admin))  # noqa: E731
    assert revoke().json == {"id": made.json["id"], "revoked": True}
    assert chat(gateway.url, key=key).status == 401
    assert (revoke().status, revoke().json["error"]["code"]) == (404, "key_not_found")
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "personadual.audit"]
    assert [line["action"] for line in lines] == ["key_created", "keys_listed", "key_revoked"]
    assert {line["by"] for line in lines} == {admin.split("-")[1]}
    assert key not in caplog.text
    assert admin not in caplog.text
    for wrong, field in (
        ({}, "name"),
        ({"name": "x", "roles": []}, "roles"),
        ({"name": "x", "roles": ["okapi"]}, "roles.0"),
        ({"name": "x", "dial": {"mode": "okapi"}}, "dial.mode"),
        ({"name": "x", "limits": {"tokens_per_minute": 1.5}}, "limits.tokens_per_minute"),
        ({"name": "x", "okapi": 1}, "okapi"),
        ({"name": "a\nb"}, "name"),
    ):
        refused = call(gateway.url, "/v1/keys", wrong, headers=bearer(admin))
        assert refused.status == 400
        assert str(refused.json["error"]["param"]).startswith(field)


NOBODYS = f"pd-{'0' * 16}-{'x' * 43}"
WAYS: list[tuple[str, str, Any, Role | None]] = [
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, Role.CHAT),
    ("POST", "/v1/mode", {"messages": [{"role": "user", "content": "x"}]}, Role.CHAT),
    ("GET", "/v1/personas", None, Role.PERSONAS),
    ("PUT", "/v1/personas/ada", {"text": "x"}, Role.PERSONAS),
    ("GET", "/v1/personas/ada", None, Role.PERSONAS),
    ("PATCH", "/v1/personas/ada", {"text": "y"}, Role.PERSONAS),
    ("DELETE", "/v1/personas/ada", None, Role.PERSONAS),
    ("POST", "/v1/personas/import", {"id": "ada", "text": "x"}, Role.PERSONAS),
    ("GET", "/v1/personas/export", None, Role.PERSONAS),
    ("GET", "/v1/keys", None, Role.ADMIN),
    ("POST", "/v1/keys", {"name": "x"}, Role.ADMIN),
    ("DELETE", "/v1/keys/x", None, Role.ADMIN),
    ("GET", "/v1/models", None, None),
    ("GET", "/v1/models/pocket", None, None),
]


def test_each_way_in_asks_for_a_key_and_its_role(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """Every route of /v1, so that none is forgotten; health and metrics ask for nothing."""
    keys = {role: new_key(redis_server.url, roles=(role,)) for role in Role}
    for method, path, body, role in WAYS:
        ask = partial(call, gateway.url, path, body, method=method)
        for wrong in (
            None,
            "unused",
            NOBODYS,
            keys[Role.CHAT][:-1] + "!",
        ):
            refused = ask(headers=bearer(wrong))
            error = refused.json["error"]
            assert (refused.status, error["code"]) == (401, "invalid_api_key"), path
            assert refused.headers["www-authenticate"] == "Bearer"
            assert wrong is None or wrong not in error["message"]
        for held, key in keys.items():
            answer = ask(headers=bearer(key))
            if role in (None, held):
                assert answer.status in (200, 404), (path, held)
            else:
                assert (answer.status, answer.json["error"]["code"]) == (403, "missing_role"), path
    served = set(call(gateway.url, "/openapi.json").json["paths"])
    asked = {path for path in served if path.startswith("/v1")}
    named = {way[1].replace("/ada", "/{persona_id}").replace("/x", "/{key_id}") for way in WAYS}
    assert asked == {name.replace("/pocket", "/{model}") for name in named}
    for path in ("/health/live", "/health/ready", "/metrics", "/docs"):
        assert call(gateway.url, path).status == 200
    text = scrape(gateway)
    assert value(text, 'personadual_rejected_total{reason="unauthorized"}') == 4 * len(WAYS)
    assert value(text, 'personadual_rejected_total{reason="forbidden"}') == 2 * sum(
        way[3] is not None for way in WAYS
    )


def test_the_official_client_knows_the_errors(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    key = new_key(redis_server.url, roles=(Role.PERSONAS,))
    ask = lambda key: gateway.client.with_options(api_key=key).chat.completions.create(  # noqa: E731
        model="pocket", messages=[{"role": "user", "content": "x"}]
    )
    with pytest.raises(AuthenticationError, match="not known"):
        ask("unused")
    with pytest.raises(PermissionDeniedError, match="role chat"):
        ask(key)


def test_the_callers_key_stays_here(
    gateway: Gateway, fake: FakeEngine, script: Script, redis_server: RedisServer, caplog: Any
) -> None:
    """Neither the engine nor the log gets it."""
    key = new_key(redis_server.url)
    assert chat(gateway.url, key=key, user="ada").status == 200
    assert chat(gateway.url, key=key[:-1] + "!").status == 401
    assert key not in json.dumps([sent(script), *fake.headers])
    assert key[:-1] not in caplog.text


def test_redis_away_leaves_known_keys_in_force(
    gateway: Gateway, script: Script, redis_server: RedisServer
) -> None:
    """One that was seen goes on; one that was not is neither good nor bad: 503."""
    known, unknown = new_key(redis_server.url), new_key(redis_server.url)
    assert chat(gateway.url, key=known).status == 200
    redis_server.stop()
    try:
        time.sleep(1.5)  # longer than the life of what cannot be heard of
        assert chat(gateway.url, key=known).status == 200
        assert chat(gateway.url, key=known[:-1] + "!").status == 401
        for key in (unknown, NOBODYS):
            answer = chat(gateway.url, key=key)
            assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
            assert answer.headers["retry-after"]
        assert chat(gateway.url).status == 401
    finally:
        redis_server.start()


async def test_a_known_key_outlives_redis_for_its_cache_life_only() -> None:
    """Counted from the moment Redis went, however old the entry is by then."""
    now = 0.0
    text, key = make_key("x", "acme", (Role.CHAT,))
    store = HeldKeys(key)
    ring = KeyRing(store, max_entries=3, life_s=300, clock=lambda: now)
    ring.hears(True)
    assert await ring.find(text) == key
    now = 290.0
    ring.hears(False)
    store.is_away = True
    now += 299
    assert await ring.find(text) == key
    now += 2
    with pytest.raises(StoreUnavailable):
        await ring.find(text)


async def test_a_revoked_key_dies_within_a_second_of_a_lost_message() -> None:
    """Redis answers, but nothing is heard: the ring asks again after a second."""
    now = 0.0
    text, key = make_key("x", "acme", (Role.CHAT,))
    store = HeldKeys(key)
    ring = KeyRing(store, max_entries=3, life_s=300, clock=lambda: now)
    assert await ring.find(text) == key
    store.held.clear()
    now = 0.9
    assert await ring.find(text) == key
    now = 1.1
    assert await ring.find(text) is None


async def test_made_up_keys_push_no_real_one_out() -> None:
    text, key = make_key("x", "acme", (Role.CHAT,))
    store = HeldKeys(key)
    ring = KeyRing(store, max_entries=3, life_s=300)
    ring.hears(True)
    assert await ring.find(text) == key
    for number in range(10):
        assert await ring.find(f"pd-{number:016x}-{'x' * 43}") is None
    store.is_away = True
    assert await ring.find(text) == key


def test_key_files_are_found_by_their_folder(tmp_path: Path, redis_server: RedisServer) -> None:
    """Without PERSONADUAL_REDIS_URL the commands ask the Redis of a running `serve`."""
    from app.serve.whereabouts import note_redis, redis_url

    note_redis(tmp_path, "unix:///x")
    assert redis_url(Settings(), tmp_path) == "unix:///x"
    assert (tmp_path / "redis.url").stat().st_mode & 0o77 == 0
    assert redis_url(Settings(), tmp_path / "nothing") == "redis://127.0.0.1:6379/0"
