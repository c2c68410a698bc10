"""Personas in Redis: one JSON value per persona, an index of ids, and one channel.

A request costs one round trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from app.cache import Listener
from app.personas import Entry, Keep, Lasting, Page, PersonaKey, Stored
from app.redis.link import RedisLink
from app.redis.persona_scripts import CHANGE, DELETE, DROP_EXPIRED, PUT, READ
from model.errors import InvalidRequest, StoreUnavailable
from model.persona import Attribute, Persona

CHANNEL = "personadual:personas"
MAX_RACES = 32
"""How often a change is tried again because somebody else wrote in between."""
_NO_SUCH_KEY = -2
"""What Redis says for the time to live of a key that is not there; -1 for one without."""


class RedisPersonas:
    """`app.personas.PersonaStore` over two links to Redis: a patient one for many at once."""

    def __init__(self, link: RedisLink, bulk: RedisLink) -> None:
        self._link = link
        self._bulk = bulk

    async def get(self, key: PersonaKey) -> Lasting | None:
        async with self._link.guarded():
            raw = cast("bytes | None", await self._link.redis.get(_value_key(key)))
        if raw is None:
            return None
        content, persona = _decode_all(raw)
        ends_ms = content.get("ends_ms")
        # Redis' clock wrote it; one that differs from ours shortens or prolongs what is kept.
        return Lasting(persona, None if ends_ms is None else ends_ms / 1000 - time.time())

    async def read(self, key: PersonaKey) -> Entry | None:
        async with self._link.guarded():
            raw, life_s = await self._link.redis.eval(READ, 1, _value_key(key))
        return None if raw is None else Entry(key[1], _decode(raw), _time_left(life_s))

    async def put(self, tenant: str, entry: Entry) -> Entry:
        [written] = await self._put(self._link, tenant, [entry])
        return written

    async def put_many(self, tenant: str, entries: Sequence[Entry]) -> None:
        await self._put(self._bulk, tenant, entries)

    async def _put(self, link: RedisLink, tenant: str, entries: Sequence[Entry]) -> list[Entry]:
        updated_at = _now()
        arguments: list[str | bytes] = []
        for entry in entries:
            content = _content(entry.persona, updated_at)
            arguments += (str(entry.ttl_s or 0), content, entry.id)
        ids = [entry.id for entry in entries]
        async with link.guarded():
            versions = await link.redis.eval(
                PUT,
                1 + len(ids),
                _index_key(tenant),
                *(_value_key((tenant, persona_id)) for persona_id in ids),
                CHANNEL,
                _message(tenant, *ids),
                *arguments,
            )
        return [
            replace(entry, persona=_written(entry.persona, version, updated_at))
            for entry, version in zip(entries, versions, strict=True)
        ]

    async def change(
        self, key: PersonaKey, edit: Callable[[Persona], Persona], ttl_s: int | Keep | None
    ) -> Entry | None:
        for _ in range(MAX_RACES):
            async with self._link.guarded():
                raw = cast("bytes | None", await self._link.redis.get(_value_key(key)))
            if raw is None:
                return None
            persona, updated_at = edit(_decode(raw)), _now()
            async with self._link.guarded():
                done = await self._link.redis.eval(
                    CHANGE,
                    2,
                    _index_key(key[0]),
                    _value_key(key),
                    CHANNEL,
                    _message(*key),
                    ttl_s.value if isinstance(ttl_s, Keep) else str(ttl_s or 0),
                    _content(persona, updated_at),
                    key[1],
                    raw,
                )
            if done:
                version, life_s = done
                return Entry(key[1], _written(persona, version, updated_at), _time_left(life_s))
        raise StoreUnavailable("the persona is being written all the time; try again")

    async def delete(self, key: PersonaKey) -> bool:
        async with self._link.guarded():
            gone = await self._link.redis.eval(
                DELETE,
                2,
                _value_key(key),
                _index_key(key[0]),
                key[1],
                CHANNEL,
                _message(*key),
            )
        return bool(gone)

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page:
        """Ids in order. Those whose value has outlived its time are dropped from the index here."""
        ids: list[str] = []
        while True:
            start = f"({after}" if after else "-"
            async with self._bulk.guarded():
                raw = await self._bulk.redis.zrange(
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

    async def read_page(
        self, tenant: str, after: str | None, limit: int
    ) -> tuple[list[Stored], str | None]:
        page = await self.list_ids(tenant, after, limit)
        if not page.ids:
            return [], None
        keys = [_value_key((tenant, persona_id)) for persona_id in page.ids]
        async with self._bulk.guarded():
            pipeline = self._bulk.redis.pipeline(transaction=True)
            pipeline.mget(keys)
            for key in keys:
                pipeline.ttl(key)
            values, *lives = await pipeline.execute()
        found = [
            Stored(persona_id, _read_or_none(value), _time_left(life_s))
            for persona_id, value, life_s in zip(page.ids, values, lives, strict=True)
            if life_s != _NO_SUCH_KEY  # it went since it was listed
        ]
        return found, page.next_after

    async def _drop_expired(self, tenant: str, ids: list[str]) -> set[str]:
        if not ids:
            return set()
        keys = [_index_key(tenant), *(_value_key((tenant, item)) for item in ids)]
        stale = await self._bulk.redis.eval(DROP_EXPIRED, len(keys), *keys, *ids)
        return {item.decode() for item in cast("list[bytes]", stale)}


@dataclass(frozen=True, slots=True)
class PersonaEar:
    """Turns what the channel says into keys."""

    listener: Listener[PersonaKey]

    def forget(self, message: str) -> None:
        tenant, *ids = message.split("\n")
        for persona_id in ids:
            self.listener.forget((tenant, persona_id))

    def hears(self, is_hearing: bool) -> None:
        self.listener.hears(is_hearing)


def _value_key(key: PersonaKey) -> str:
    return f"personadual:{{{key[0]}}}:persona:{key[1]}"


def _index_key(tenant: str) -> str:
    return f"personadual:{{{tenant}}}:personas"


def _message(tenant: str, *ids: str) -> str:
    return "\n".join((tenant, *ids))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _content(persona: Persona, updated_at: str) -> bytes:
    """The stored JSON text, less its beginning with the version."""
    content = {
        "text": persona.text,
        "attributes": dict(persona.attributes),
        "updated_at": updated_at,
    }
    return orjson.dumps(content)[1:]


def _written(persona: Persona, version: int, updated_at: str) -> Persona:
    return replace(persona, version=int(version), updated_at=updated_at)


def _time_left(life_s: int) -> int | None:
    """Redis rounds, and what is there still lives: at least a second, as `ttl_s` is written."""
    return None if life_s < 0 else max(life_s, 1)


def _read_or_none(raw: bytes | None) -> Persona | None:
    try:
        return None if raw is None else _decode(raw)
    except StoreUnavailable:
        return None


def _decode(raw: bytes) -> Persona:
    return _decode_all(raw)[1]


def _decode_all(raw: bytes) -> tuple[dict[str, Any], Persona]:
    """The stored JSON object, and the persona that it is."""
    try:
        content = orjson.loads(raw)
        text, attributes = content["text"], content["attributes"]
        version, updated_at = content["version"], content["updated_at"]
        is_typed = isinstance(text, str) and isinstance(attributes, dict)
        if not (is_typed and isinstance(version, int) and isinstance(updated_at, str | None)):
            raise TypeError("not what a persona consists of")
        if not all(isinstance(value, Attribute) for value in attributes.values()):
            raise TypeError("not what an attribute can be")
        if not isinstance(content.get("ends_ms"), int | None):
            raise TypeError("not what an end can be")
        return content, Persona(text, attributes, version, updated_at)
    except (ValueError, KeyError, TypeError, InvalidRequest) as error:
        # Someone else wrote under our keys. The text itself stays out of the message.
        raise StoreUnavailable("a stored persona cannot be read; put it again") from error
