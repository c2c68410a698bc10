"""The local persona cache: single flight, bound, invalidation, and the end of listening."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis import Redis

from app.access.keys import KeyRing
from app.metrics import Metrics
from app.personas import PersonaCache
from app.redis.store import RedisStore
from model.errors import StoreUnavailable
from model.persona import Persona
from tests.conftest import RedisServer
from tests.fake_store import CountingStore

KEY = ("t", "ada")


def cache_over(
    store: CountingStore, clock: Any = time.monotonic, max_entries: int = 3
) -> PersonaCache:
    cache = PersonaCache(store, Metrics(), max_entries=max_entries, life_s=30, clock=clock)
    cache.hears(True)
    return cache


async def test_one_lookup_serves_all_who_ask_at_once() -> None:
    """Also when the first of them leaves."""
    store = CountingStore()
    store.personas[KEY] = Persona("x")
    cache = cache_over(store)
    first, *others = (asyncio.create_task(cache.get(KEY)) for _ in range(10))
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [Persona("x")] * 9
    assert store.lookups == 1


async def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    store = CountingStore()
    cache = cache_over(store, max_entries=3)
    for name in ("a", "b", "c", "a", "d"):
        await cache.get(("t", name))
    assert len(cache) == 3
    store.lookups = 0
    await cache.get(("t", "a"))
    assert store.lookups == 0
    await cache.get(("t", "b"))
    assert store.lookups == 1


async def test_entries_live_shorter_while_nobody_listens() -> None:
    """30 s with invalidation, 1 s without: a write is seen within a second either way."""
    now = 0.0
    store = CountingStore()
    cache = cache_over(store, clock=lambda: now)
    for is_hearing, life_s in ((True, 30), (False, 1)):
        cache.hears(is_hearing)
        store.lookups = 0
        await cache.get(KEY)
        now += life_s - 0.1
        await cache.get(KEY)
        assert store.lookups == 1
        now += 0.2
        await cache.get(KEY)
        assert store.lookups == 2


async def test_an_entry_lives_no_longer_than_its_persona() -> None:
    """One whose end is near, or past by our clock, is asked for again; absence has no end."""
    now = 0.0
    store = CountingStore()
    store.personas[KEY] = Persona("x")
    cache = cache_over(store, clock=lambda: now)
    store.left_s = 5
    await cache.get(KEY)
    now += 4.9
    await cache.get(KEY)
    assert store.lookups == 1
    now += 0.2
    store.left_s = -0.1
    for lookups in (2, 3):
        assert await cache.get(KEY) == Persona("x")
        assert store.lookups == lookups
    store.left_s = 100
    await cache.get(KEY)
    now += 29
    await cache.get(KEY)
    assert store.lookups == 4
    now += 2
    await cache.get(KEY)
    assert store.lookups == 5


async def test_a_write_during_a_lookup_is_not_lost() -> None:
    """What was read before the write must not be kept after it."""
    store = CountingStore()
    store.personas[KEY] = Persona("old")
    cache = cache_over(store)
    reading = asyncio.create_task(cache.get(KEY))
    await asyncio.sleep(0.005)
    store.personas[KEY] = Persona("new")
    cache.forget(KEY)
    await reading
    assert await cache.get(KEY) == Persona("new")


async def test_failures_are_not_cached() -> None:
    store = CountingStore()
    store.is_away = True
    cache = cache_over(store)
    with pytest.raises(StoreUnavailable):
        await cache.get(KEY)
    store.is_away = False
    assert await cache.get(KEY) is None


async def test_listening_ends_with_the_store(redis_server: RedisServer, redis: Redis) -> None:
    """Whatever moment it is closed at: redis-py may swallow a cancellation."""
    for pause in (0.0, 0.1, 0.5, 0.51):
        store = RedisStore(redis_server.url, timeout_s=1, retry_s=1)
        cache = PersonaCache(store.personas, Metrics(), max_entries=3, life_s=30)
        ring = KeyRing(store.keys, max_entries=3, life_s=30)
        listening = asyncio.create_task(store.listen(cache, ring))
        await asyncio.sleep(pause)
        await store.close()
        listening.cancel()
        await asyncio.wait([listening], timeout=3)
        assert listening.done()
