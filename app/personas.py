"""Personas: the store port, and the local cache through which the request path reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from app.cache import ReadCache
from app.metrics import LookupOutcome, Metrics
from model.persona import Persona

PersonaKey = tuple[str, str]
"""Tenant and persona id."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some persona ids in order; `next_after` opens the next page, None on the last one."""

    ids: list[str]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A persona under its id; with `ttl_s` it is forgotten after so many seconds from now."""

    id: str
    persona: Persona
    ttl_s: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies under an id, and for how many seconds more; `persona` is None if unreadable."""

    id: str
    persona: Persona | None
    ttl_s: int | None


@dataclass(frozen=True, slots=True)
class Lasting:
    """A persona, and for how many seconds more it is one; None: for good."""

    persona: Persona
    left_s: float | None = None


class Keep(Enum):
    """Stands for the time to live that a persona has already."""

    TTL = "keep"


class PersonaStore(Protocol):
    """Where personas live. Every call raises `StoreUnavailable` when it does not answer."""

    async def get(self, key: PersonaKey) -> Lasting | None:
        """For the request path: the cheapest look there is."""
        ...

    async def read(self, key: PersonaKey) -> Entry | None:
        """For those who look after personas: with the time that is left as the store knows it."""
        ...

    async def put(self, tenant: str, entry: Entry) -> Entry:
        """Write, count the version up and tell all gateways; return what is stored now."""
        ...

    async def put_many(self, tenant: str, entries: Sequence[Entry]) -> None:
        """`put` for each, in one step and one round trip: keep them to some hundred."""
        ...

    async def change(
        self, key: PersonaKey, edit: Callable[[Persona], Persona], ttl_s: int | Keep | None
    ) -> Entry | None:
        """Replace a persona by what `edit` makes of it, losing no write of anybody else's.

        `edit` is called again where another write came between. Returns what is stored now, None
        where there is nothing to change.
        """
        ...

    async def delete(self, key: PersonaKey) -> bool: ...

    async def list_ids(self, tenant: str, after: str | None, limit: int) -> Page: ...

    async def read_page(
        self, tenant: str, after: str | None, limit: int
    ) -> tuple[list[Stored], str | None]:
        """Personas in the order of their ids, and what opens the next page."""
        ...


class Personas(Protocol):
    """Where the request path looks personas up."""

    async def get(self, key: PersonaKey) -> Persona | None:
        """The persona under `key`, or None where there is none.

        Raises:
            StoreUnavailable: that cannot be told.
        """
        ...


class PersonaCache:
    """Reads personas of the store, most of the time without asking it; remembers absence too, and
    no persona beyond its end."""

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
        self._clock = clock
        self._cache: ReadCache[PersonaKey, Lasting] = ReadCache(
            self._fetch,
            max_entries=max_entries,
            life_s=life_s,
            left_s_of=lambda found: found.left_s,
            clock=clock,
        )
        self.forget = self._cache.forget
        self.hears = self._cache.hears

    async def get(self, key: PersonaKey) -> Persona | None:
        """The persona under `key`, or None where there is none.

        Raises:
            StoreUnavailable: it is not cached and the store does not answer.
        """
        is_known, found = self._cache.peek(key)
        if is_known:
            self._metrics.persona_lookups(LookupOutcome.CACHED).inc()
        else:
            found = await self._cache.get(key)
        return None if found is None else found.persona

    def holds(self, key: PersonaKey) -> bool:
        """Whether `get` would answer without asking the store."""
        return self._cache.peek(key)[0]

    def __len__(self) -> int:
        return len(self._cache)

    async def _fetch(self, key: PersonaKey) -> Lasting | None:
        begun = self._clock()
        outcome = LookupOutcome.UNAVAILABLE
        try:
            found = await self._store.get(key)
            outcome = LookupOutcome.FOUND if found else LookupOutcome.ABSENT
            return found
        finally:
            self._metrics.persona_lookups(outcome).inc()
            self._metrics.persona_lookup_seconds.observe(self._clock() - begun)
