"""A local cache through which the request path reads what lies in Redis. Knows no Redis.

It is bounded, lets one lookup serve all who ask at the same time, and forgets an entry when any
gateway writes it. Behind invalidation lies a short life as a net.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from model.errors import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
K_in = TypeVar("K_in", contravariant=True)
UNHEARD_LIFE_S = 1.0
"""Life of a cached entry while no invalidation can be heard: a write is seen within a second."""


class Listener(Protocol[K_in]):
    """Is told what other gateways write."""

    def forget(self, key: K_in) -> None: ...

    def hears(self, is_hearing: bool) -> None:
        """Whether invalidations arrive from now on."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V | None
    epoch: int
    kept_at: float
    expires_at: float


class ReadCache(Generic[K, V]):
    """Reads by `fetch`, most of the time without calling it.

    `keeps_absence`: remember too that there is nothing under a key. `stale_s`: how long an entry
    outlives the last moment at which it was known to be right, while `fetch` finds the store away.
    `left_s_of`: how long a value that has just been read is one at most; None for good.
    """

    def __init__(
        self,
        fetch: Callable[[K], Awaitable[V | None]],
        *,
        max_entries: int,
        life_s: float,
        keeps_absence: bool = True,
        stale_s: float = 0.0,
        left_s_of: Callable[[V], float | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._max_entries = max_entries
        self._life_s = life_s
        self._keeps_absence = keeps_absence
        self._stale_s = stale_s
        self._left_s_of = left_s_of
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[V | None]] = {}
        self._is_hearing = False
        self._heard_at = -float("inf")
        # Entries of an earlier epoch may have been written while nobody listened.
        self._epoch = 0

    def peek(self, key: K) -> tuple[bool, V | None]:
        """Whether the answer is known without asking, and the answer."""
        entry = self._entries.get(key)
        if entry is None or entry.epoch != self._epoch or entry.expires_at <= self._clock():
            return False, None
        self._entries.move_to_end(key)
        return True, entry.value

    async def get(self, key: K) -> V | None:
        """The value under `key`, or None where there is none.

        Raises:
            StoreUnavailable: it is not cached and the store does not answer.
        """
        is_known, value = self.peek(key)
        if is_known:
            return value
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key))
            self._flights[key] = flight
        try:
            # One who leaves must not take the lookup away from the others who wait for it.
            return await asyncio.shield(flight)
        except StoreUnavailable:
            entry = self._entries.get(key)
            if entry is None or self._is_stale(entry):
                raise
            return entry.value

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)
        # A lookup on its way may have read the old value: let it answer, but not stay.
        self._flights.pop(key, None)

    def hears(self, is_hearing: bool) -> None:
        if self._is_hearing:
            self._heard_at = self._clock()
        self._is_hearing = is_hearing
        self._epoch += 1
        self._flights.clear()
        if not self._stale_s:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _is_stale(self, entry: _Entry[V]) -> bool:
        if not self._stale_s:
            return True
        is_heard_of = self._is_hearing and entry.epoch == self._epoch
        heard_at = self._clock() if is_heard_of else self._heard_at
        return self._clock() >= max(entry.kept_at, heard_at) + self._stale_s

    async def _fly(self, key: K) -> V | None:
        try:
            value = await self._fetch(key)
        finally:
            is_current = self._flights.get(key) is asyncio.current_task()
            if is_current:
                del self._flights[key]
        if is_current:
            self._keep(key, value)
        return value

    def _keep(self, key: K, value: V | None) -> None:
        if value is None and not self._keeps_absence:
            self._entries.pop(key, None)
            return
        now = self._clock()
        life_s = self._life_s if self._is_hearing else min(self._life_s, UNHEARD_LIFE_S)
        left_s = None if value is None or self._left_s_of is None else self._left_s_of(value)
        if left_s is not None:
            life_s = min(life_s, left_s)
        self._entries[key] = _Entry(value, self._epoch, now, now + life_s)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
