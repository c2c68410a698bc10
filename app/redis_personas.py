"""Personas in Redis: one JSON value per persona, an index of ids, and one channel.

A request costs one round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import orjson

from app.cache import Listener
from app.personas import Key, Page
from app.redis_link import RedisLink
from model.errors import InvalidRequest, StoreUnavailable
from model.persona import Persona

CHANNEL = "personadual:personas"

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


class RedisPersonas:
    """`app.personas.PersonaStore` over a link to Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._guarded = link.guarded
        self._redis = link.redis

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


@dataclass(frozen=True, slots=True)
class PersonaEar:
    """Turns what the channel says into keys."""

    listener: Listener[Key]

    def forget(self, message: str) -> None:
        tenant, _, persona_id = message.partition("\n")
        self.listener.forget((tenant, persona_id))

    def hears(self, is_hearing: bool) -> None:
        self.listener.hears(is_hearing)


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
