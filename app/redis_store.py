"""The persona store over Redis: one JSON value per persona, an index of ids, and one channel.

A request costs one round trip. Time-outs are tens of milliseconds and nothing is retried: a Redis
that hangs must not hang answers. After a failure the store is left alone for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from app.personas import Key, Listener, Page
from model.errors import InvalidRequest, StoreUnavailable
from model.persona import Persona

logger = logging.getLogger("personadual.store")

CHANNEL = "personadual:personas"
LISTEN_RETRY_S = 0.25
HEARTBEAT_S = 0.5

# The braces keep a tenant's keys on one node of a Redis cluster, where the script needs them.
# The version opens the JSON text, so that the script counts it up without parsing the rest: Lua
# would turn whole numbers in the attributes into floats.
_PUT = """
local old = redis.call('GET', KEYS[1])
local version = 1 + (old and tonumber(string.match(old, '^{"version":(%d+),')) or 0)
local value = '{"version":' .. string.format('%d', version) .. ',' .. ARGV[1]
if ARGV[2] == '0' then redis.call('SET', KEYS[1], value)
else redis.call('SET', KEYS[1], value, 'EX', ARGV[2]) end
redis.call('ZADD', KEYS[2], 0, ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return version
"""
_DELETE = """
local gone = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return gone
"""


class RedisStore:
    """`app.personas.PersonaStore` for a Redis at `url`."""

    def __init__(self, url: str, *, timeout_s: float, retry_s: float) -> None:
        # Blocking: a burst of lookups waits for a connection instead of failing for want of one.
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._away_until = 0.0
        self._is_away = False
        self._is_closed = False

    async def get(self, key: Key) -> Persona | None:
        async with self._guarded():
            raw = await self._redis.get(_value_key(key))
        return None if raw is None else _decode(cast("bytes", raw))

    async def put(self, key: Key, persona: Persona, ttl_s: int | None) -> Persona:
        updated_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = {
            "text": persona.text,
            "attributes": dict(persona.attributes),
            "updated_at": updated_at,
        }
        async with self._guarded():
            version = await self._redis.eval(
                _PUT,
                2,
                _value_key(key),
                _index_key(key[0]),
                orjson.dumps(content)[1:],
                str(ttl_s or 0),
                key[1],
                CHANNEL,
                _message(key),
            )
        return Persona(persona.text, persona.attributes, int(version), updated_at)

    async def delete(self, key: Key) -> bool:
        async with self._guarded():
            gone = await self._redis.eval(
                _DELETE,
                2,
                _value_key(key),
                _index_key(key[0]),
                key[1],
                CHANNEL,
                _message(key),
            )
        return bool(gone)

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page:
        """Ids in order. Those whose value has outlived its time are dropped from the index here."""
        ids: list[str] = []
        while True:
            start = f"({after}" if after else "-"
            async with self._guarded():
                raw = await self._redis.zrange(
                    _index_key(tenant), start, "+", bylex=True, offset=0, num=limit + 1
                )
                found = [item.decode() for item in cast("list[bytes]", raw)]
                stale = await self._drop_expired(tenant, found)
            ids += [item for item in found if item not in stale]
            if len(found) <= limit or len(ids) > limit:
                break
            after = found[-1]
        has_more = len(ids) > limit
        return Page(ids[:limit], ids[limit - 1] if has_more else None)

    async def ping(self) -> None:
        async with self._guarded():
            await self._redis.ping()

    async def listen(self, listener: Listener) -> None:
        # redis-py's timed read now and then swallows a cancellation (seen on CPython 3.11: the
        # task stays "cancelling" and reads on), so the end is a flag and not an exception.
        while not self._is_closed:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    await self._relay(channel, listener)
            except (RedisError, OSError, TimeoutError):
                listener.hears(False)
                await asyncio.sleep(LISTEN_RETRY_S)

    async def close(self) -> None:
        self._is_closed = True
        await self._redis.aclose()

    async def _relay(self, channel: PubSub, listener: Listener) -> None:
        is_pinged = False
        while not self._is_closed:
            message = await channel.get_message(timeout=HEARTBEAT_S)
            if message is None:
                # Silence may be peace or a dead peer: an answer to a ping tells.
                if is_pinged:
                    raise TimeoutError
                await channel.ping()
                is_pinged = True
                continue
            is_pinged = False
            if message["type"] == "subscribe":
                listener.hears(True)
            elif message["type"] == "message":
                tenant, _, persona_id = message["data"].decode(errors="replace").partition("\n")
                listener.forget((tenant, persona_id))

    async def _drop_expired(self, tenant: str, ids: list[str]) -> set[str]:
        if not ids:
            return set()
        kept = await self._redis.exists(*[_value_key((tenant, item)) for item in ids])
        if kept == len(ids):
            return set()
        values = await self._redis.mget([_value_key((tenant, item)) for item in ids])
        stale = {item for item, value in zip(ids, values, strict=True) if value is None}
        await self._redis.zrem(_index_key(tenant), *stale)
        return stale

    @contextlib.asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """Bound the call, and leave a store that has failed alone for a moment."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("the persona store does not answer")
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                yield
        except ResponseError as error:
            # An answer, if a refusal (a full memory, a replica): no reason to leave it alone.
            logger.error("the persona store refuses a command: %s", str(error).split(" ", 1)[0])
            raise StoreUnavailable("the persona store refuses the command") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + self._retry_s
            if not self._is_away:
                self._is_away = True
                logger.warning("the persona store does not answer: %s", type(error).__name__)
            raise StoreUnavailable("the persona store does not answer") from error
        if self._is_away:
            self._is_away = False
            logger.warning("the persona store answers again")


def _value_key(key: Key) -> str:
    return f"personadual:{{{key[0]}}}:persona:{key[1]}"


def _index_key(tenant: str) -> str:
    return f"personadual:{{{tenant}}}:personas"


def _message(key: Key) -> str:
    return f"{key[0]}\n{key[1]}"


def _decode(raw: bytes) -> Persona:
    try:
        content = orjson.loads(raw)
        return Persona(
            content["text"], content["attributes"], content["version"], content["updated_at"]
        )
    except (ValueError, KeyError, TypeError, InvalidRequest) as error:
        # Someone else wrote under our keys. The text itself stays out of the message.
        raise StoreUnavailable("a stored persona cannot be read; put it again") from error
