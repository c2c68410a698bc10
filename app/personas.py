"""Personas: the store port, and the local cache through which the request path reads.

The cache is bounded, remembers absence too, lets one lookup serve all who ask at the same time,
and forgets an entry when any gateway writes it. Behind invalidation lies a short life as a net.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.metrics import LookupOutcome, Metrics
from model.persona import Persona

Key = tuple[str, str]
"""Tenant and persona id."""
UNHEARD_LIFE_S = 1.0
"""Life of a cached entry while no invalidation can be heard: a write is seen within a second."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some persona ids in order; `next_after` opens the next page, None on the last one."""

    ids: list[str]
    next_after: str | None


class Listener(Protocol):
    """Is told what other gateways write."""

    def forget(self, key: Key) -> None: ...

    def hears(self, is_hearing: bool) -> None:
        """Whether invalidations arrive from now on."""
        ...


class PersonaStore(Protocol):
    """Where personas live. Every call raises `StoreUnavailable` when it does not answer."""

    async def get(self, key: Key) -> Persona | None: ...

    async def put(self, key: Key, persona: Persona, ttl_s: int | None) -> Persona:
        """Write, count the version up and tell all gateways; return what is stored now."""
        ...

    async def delete(self, key: Key) -> bool: ...

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page: ...

    async def ping(self) -> None: ...

    async def listen(self, listener: Listener) -> None:
        """Report writes until the store is closed; survives the loss of the connection."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    persona: Persona | None
    expires_at: float


class PersonaCache:
    """Reads personas of the store, most of the time without asking it."""

    def __init__(
        self,
        store: PersonaStore,
        metrics: Metrics,
        *,
        max_entries: int,
        life_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._max_entries = max_entries
        self._life_s = life_s
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, asyncio.Task[Persona | None]] = {}
        self._is_hearing = False

    async def get(self, key: Key) -> Persona | None:
        """The persona under `key`, or None where there is none.

        Raises:
            StoreUnavailable: it is not cached and the store does not answer.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.expires_at > self._clock():
            self._entries.move_to_end(key)
            self._metrics.persona_lookups(LookupOutcome.CACHED).inc()
            return entry.persona
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fetch(key))
            self._flights[key] = flight
        # One who leaves must not take the lookup away from the others who wait for it.
        return await asyncio.shield(flight)

    def forget(self, key: Key) -> None:
        self._entries.pop(key, None)
        # A lookup on its way may have read the old value: let it answer, but not stay.
        self._flights.pop(key, None)

    def hears(self, is_hearing: bool) -> None:
        self._is_hearing = is_hearing
        # What was written while nobody listened is unknown.
        self._entries.clear()
        self._flights.clear()

    def __len__(self) -> int:
        return len(self._entries)

    async def _fetch(self, key: Key) -> Persona | None:
        begun = self._clock()
        outcome = LookupOutcome.UNAVAILABLE
        try:
            persona = await self._store.get(key)
            outcome = LookupOutcome.FOUND if persona else LookupOutcome.ABSENT
        finally:
            is_current = self._flights.get(key) is asyncio.current_task()
            if is_current:
                del self._flights[key]
            self._metrics.persona_lookups(outcome).inc()
            self._metrics.persona_lookup_seconds.observe(self._clock() - begun)
        if is_current:
            self._keep(key, persona)
        return persona

    def _keep(self, key: Key, persona: Persona | None) -> None:
        life_s = self._life_s if self._is_hearing else min(self._life_s, UNHEARD_LIFE_S)
        self._entries[key] = _Entry(persona, self._clock() + life_s)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
