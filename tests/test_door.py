"""The door: who is let in without a key, and what a gateway says of it."""

from __future__ import annotations

import pytest
from redis import Redis

from app.access.auth import Door, is_loopback
from app.access.keys import KeyRing, Role, make_key
from app.settings import Auth
from model.errors import KeyRefused, OriginRefused, RoleMissing, StoreUnavailable
from testbed.fake_engine import FakeEngine
from testbed.http import bearer, call
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.fake_store import HeldKeys, NoKeys


@pytest.mark.parametrize(
    ("auth", "is_made", "host", "is_let_in"),
    [
        (Auth.AUTO, False, "127.0.0.1", True),
        (Auth.AUTO, False, "::1", True),
        (Auth.AUTO, False, "::ffff:127.0.0.1", True),
        (Auth.AUTO, False, "10.1.2.3", False),
        (Auth.AUTO, False, "0.0.0.0", False),
        (Auth.AUTO, False, "2001:db8::1", False),
        (Auth.AUTO, True, "127.0.0.1", False),
        (Auth.REQUIRED, False, "127.0.0.1", False),
        (Auth.OFF, True, "10.1.2.3", True),
    ],
)
async def test_who_is_let_in_without_a_key(
    auth: Auth, is_made: bool, host: str, is_let_in: bool
) -> None:
    """By the address at which the request arrived, which the server tells with each."""
    store = HeldKeys(make_key("x", "acme", (Role.CHAT,))[1]) if is_made else NoKeys()
    door = Door(auth, "default", KeyRing(store, max_entries=3, life_s=300))
    scope = {"server": (host, 8080)}
    if is_let_in:
        assert (await door.enter(scope, "Bearer unused", Role.CHAT)).tenant == "default"
        # One who is told to make a key must be able to use it.
        told = "switched off" if auth is Auth.OFF else "--role admin"
        with pytest.raises(KeyRefused, match=told):
            await door.enter(scope, None, Role.ADMIN)
    else:
        with pytest.raises(KeyRefused):
            await door.enter(scope, None, Role.CHAT)


@pytest.mark.parametrize(
    ("auth", "host", "origin", "refused"),
    [
        (Auth.AUTO, "localhost:8080", None, None),
        (Auth.AUTO, "127.1.2.3:8080", None, None),
        (Auth.AUTO, "[::1]:8080", "http://[::1]:8080", None),
        (Auth.AUTO, "LOCALHOST", "http://localhost", None),
        (Auth.AUTO, None, None, None),
        (Auth.AUTO, "localhost:8080", "http://localhost:3000", "Origin"),
        (Auth.AUTO, "localhost:8080", "https://evil.example", "Origin"),
        (Auth.AUTO, "localhost:8080", "null", "Origin"),
        (Auth.AUTO, None, "null", "Origin"),
        (Auth.AUTO, "evil.example:8080", "http://evil.example:8080", "Host"),
        (Auth.AUTO, "localhost.evil.example", None, "Host"),
        (Auth.AUTO, "127.0.0.1.evil.example", None, "Host"),
        (Auth.AUTO, "[evil", None, "Host"),
        (Auth.OFF, "gateway.internal", "https://gateway.internal", None),
        (Auth.OFF, "gateway.internal", "https://evil.example", "Origin"),
    ],
)
async def test_no_web_page_uses_a_gateway_that_asks_for_no_key(
    auth: Auth, host: str | None, origin: str | None, refused: str | None
) -> None:
    """By what its browser says: the page's origin, and the name that led here."""
    given = {b"host": host, b"origin": origin}
    headers = [(name, value.encode()) for name, value in given.items() if value is not None]
    scope = {"server": ("127.0.0.1", 8080), "headers": headers}
    door = Door(auth, "default", KeyRing(NoKeys(), max_entries=3, life_s=300))
    if refused is None:
        assert (await door.enter(scope, None, Role.CHAT)).key_id is None
    else:
        with pytest.raises(OriginRefused, match="personadual key create") as told:
            await door.enter(scope, None, Role.CHAT)
        assert told.value.field == refused


def test_a_page_writes_and_reads_no_persona(
    gateway: Gateway, redis: Redis, redis_server: RedisServer
) -> None:
    """An upload that a browser sends without asking first (`text/plain`), and a name of the page's
    own; with a key the same requests are served."""
    line = b'{"id": "ada", "text": "okapi"}\n'
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    sent = call(gateway.url, "/v1/personas/import", line, headers=page)
    assert (sent.status, sent.json["error"]["code"]) == (403, "origin_not_allowed")
    assert redis.dbsize() == 0
    rebound = {"Host": "evil.example:8080"}
    assert call(gateway.url, "/v1/personas/export", headers=rebound).status == 403
    own = {"Origin": gateway.url, "Content-Type": "text/plain"}
    assert call(gateway.url, "/v1/personas/import", line, headers=own).json["written"] == 1
    key = bearer(new_key(redis_server.url))
    wait_until(lambda: call(gateway.url, "/v1/models").status == 401)
    for headers in (page, rebound):
        assert call(gateway.url, "/v1/models", headers={**headers, **key}).status == 200


async def test_a_socket_file_is_this_machine() -> None:
    door = Door(Auth.AUTO, "default", KeyRing(NoKeys(), max_entries=3, life_s=300))
    for server in (None, ("/run/personadual.sock", None)):
        assert (await door.enter({"server": server}, None, Role.CHAT)).key_id is None


async def test_what_a_role_is_missing_for_is_said() -> None:
    text, key = make_key("x", "acme", (Role.CHAT,))
    door = Door(Auth.AUTO, "default", KeyRing(HeldKeys(key), max_entries=3, life_s=300))
    assert (await door.enter({}, f"bearer {text}", Role.CHAT)).tenant == "acme"
    with pytest.raises(RoleMissing, match="personas"):
        await door.enter({}, f"Bearer {text}", Role.PERSONAS)


async def test_before_redis_has_answered_nobody_is_let_in() -> None:
    """Whether there are keys is not known, and an outage must not open what keys close."""
    store = HeldKeys(make_key("x", "acme", (Role.CHAT,))[1])
    store.is_away = True
    door = Door(Auth.AUTO, "default", KeyRing(store, max_entries=3, life_s=300))
    with pytest.raises(StoreUnavailable):
        await door.enter({"server": ("127.0.0.1", 1)}, None, Role.CHAT)


def test_loopback_names() -> None:
    assert is_loopback("localhost")
    assert not is_loopback("example.com")


def test_a_gateway_says_whom_it_serves(
    start_gateway: Starter, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    for auth, words in (
        ("auto", "loopback address alone"),
        ("off", "whoever"),
        ("required", "nobody"),
    ):
        caplog.clear()
        start_gateway(fake.url, auth=auth)
        assert words in caplog.text
