"""A store behind the same seam as Redis, for tests of what stands in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

from app.access.keys import ApiKey
from app.access.quota import Limits, Slot, Standing
from app.personas import Entry, Lasting, Page, PersonaKey, PersonaStore
from model.errors import StoreUnavailable
from model.persona import Persona


class CountingStore:
    """A store that is slow and counts; the cache's own tests need no Redis."""

    def __init__(self) -> None:
        self.personas: dict[PersonaKey, Persona] = {}
        self.lookups = 0
        self.left_s: float | None = None
        self.is_away = False

    async def get(self, key: PersonaKey) -> Lasting | None:
        self.lookups += 1
        found = self.personas.get(key)
        await asyncio.sleep(0.01)
        if self.is_away:
            raise StoreUnavailable("away")
        return None if found is None else Lasting(found, self.left_s)

    async def read(self, key: PersonaKey) -> Entry | None:
        raise AssertionError

    async def put(self, tenant: str, entry: Entry) -> Entry:
        raise AssertionError

    async def delete(self, key: PersonaKey) -> bool:
        raise AssertionError

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page:
        raise AssertionError


class NoKeys:
    """A store in which no key was ever made."""

    async def get(self, key_id: str) -> ApiKey | None:
        return None

    async def create(self, key: ApiKey) -> None:
        raise AssertionError

    async def revoke(self, key_id: str) -> bool:
        raise AssertionError

    async def list(self) -> list[ApiKey]:
        return []

    async def is_any_made(self) -> bool:
        return False


class HeldKeys(NoKeys):
    """A store of one key, which may be away."""

    def __init__(self, key: ApiKey) -> None:
        self.held = {key.id: key}
        self.is_away = False

    async def get(self, key_id: str) -> ApiKey | None:
        self._answer()
        return self.held.get(key_id)

    async def is_any_made(self) -> bool:
        self._answer()
        return True

    def _answer(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


class NoQuotas:
    """For stores without keys, which have no limits."""

    async def take(self, slot: Slot, limits: Limits, lease_s: float) -> Standing:
        raise AssertionError

    async def give(self, slot: Slot, limits: Limits, tokens: int) -> None:
        raise AssertionError

    async def renew(self, slots: Any, lease_s: float) -> None:
        raise AssertionError


class FakeStore:
    """A whole store around personas of a test's choice."""

    def __init__(self, personas: PersonaStore) -> None:
        self.personas = personas
        self.keys = NoKeys()
        self.quotas = NoQuotas()

    async def ping(self) -> None: ...

    async def listen(self, personas: Any, keys: Any) -> None: ...

    async def close(self) -> None: ...
