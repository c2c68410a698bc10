"""Keys in Redis: one hash of records by id, a mark that one was ever made, and one channel."""

from __future__ import annotations

from typing import cast

import orjson
from pydantic import TypeAdapter, ValidationError

from app.access.keys import MAX_KEYS, ApiKey
from app.redis.link import RedisLink
from model.errors import InvalidRequest, StoreUnavailable

CHANNEL = "personadual:keys"
_RECORDS = "personadual:{keys}:records"
_MADE = "personadual:{keys}:made"
_READER = TypeAdapter(ApiKey)

_CREATE = """
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SET', KEYS[2], 1)
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
"""
_REVOKE = """
local gone = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[1])
return gone
"""


class RedisKeys:
    """`app.access.keys.KeyStore` over a link to Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._guarded = link.guarded
        self._redis = link.redis

    async def get(self, key_id: str) -> ApiKey | None:
        async with self._guarded():
            raw = await self._redis.hget(_RECORDS, key_id)
        return None if raw is None else _decode(key_id, raw)

    async def create(self, key: ApiKey) -> None:
        async with self._guarded():
            is_room = await self._redis.eval(
                _CREATE, 2, _RECORDS, _MADE, key.id, orjson.dumps(key), MAX_KEYS, CHANNEL
            )
        if not is_room:
            raise InvalidRequest(f"there are {MAX_KEYS} keys; revoke some first", field="body")

    async def revoke(self, key_id: str) -> bool:
        async with self._guarded():
            return bool(await self._redis.eval(_REVOKE, 1, _RECORDS, key_id, CHANNEL))

    async def list(self) -> list[ApiKey]:
        async with self._guarded():
            raw = cast("dict[bytes, bytes]", await self._redis.hgetall(_RECORDS))
        keys = [_decode(key_id.decode(), record) for key_id, record in raw.items()]
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    async def is_any_made(self) -> bool:
        async with self._guarded():
            return bool(await self._redis.exists(_MADE))


def _decode(key_id: str, raw: bytes | str) -> ApiKey:
    try:
        return _READER.validate_json(raw)
    except ValidationError as error:
        # Someone else wrote under our keys, or a newer version did.
        raise StoreUnavailable(f"the stored key {key_id} cannot be read; revoke it") from error
