"""A store behind the same seam as Redis, for tests of what stands in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

from app.personas import Key, Page
from model.errors import StoreUnavailable
from model.persona import Persona


class CountingStore:
    """A store that is slow and counts; the cache's own tests need no Redis."""

    def __init__(self) -> None:
        self.personas: dict[Key, Persona] = {}
        self.lookups = 0
        self.is_away = False

    async def get(self, key: Key) -> Persona | None:
        self.lookups += 1
        found = self.personas.get(key)
        await asyncio.sleep(0.01)
        if self.is_away:
            raise StoreUnavailable("away")
        return found

    async def put(self, key: Key, persona: Persona, ttl_s: int | None) -> Persona:
        raise AssertionError

    async def delete(self, key: Key) -> bool:
        raise AssertionError

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page:
        raise AssertionError

    async def ping(self) -> None: ...

    async def listen(self, listener: Any) -> None: ...

    async def close(self) -> None: ...
