"""Quota: what a key may use, across all gateways and workers. Knows no HTTP and no Redis.

A limit of N a minute is a bucket that holds N and fills by N a minute: a burst of N, then one
each 60/N seconds. A request is admitted before it is answered, and its tokens are charged when
the answer ends, so that nothing admitted is ever cut; a bucket in debt admits nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field

from app.metrics import LimitOutcome, Metrics
from app.number import WHOLE
from model.errors import LimitReached, StoreUnavailable

Amount = Annotated[int, Field(ge=1, le=10**12, strict=True), WHOLE]
Slot = tuple[str, str]
"""A key's id, and the name of one of its requests that is being answered."""
Headers = list[tuple[bytes, bytes]]
RENEWALS = 3
"""Times that a slot is renewed before it would run out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None is no limit."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None
    concurrent: Amount | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of a key's limits, and by which of them a request is refused, for how long."""

    requests: float = 0.0
    tokens: float = 0.0
    refused_by: LimitOutcome | None = None
    wait_s: float = 0.0


class QuotaStore(Protocol):
    """Where quotas live. Every call raises `StoreUnavailable` when it does not answer."""

    async def take(self, slot: Slot, limits: Limits, lease_s: float) -> Standing:
        """Admit a request, or say what refuses it, which then costs nothing. One round trip."""
        ...

    async def give(self, slot: Slot, limits: Limits, tokens: int) -> None:
        """Charge an answer's tokens and free its slot."""
        ...

    async def renew(self, slots: Iterable[Slot], lease_s: float) -> None:
        """Keep slots for another lease: those of a gateway that died run out."""
        ...


class Lease:
    """An admitted request's place; `end` gives it back, once."""

    def __init__(self, quota: Quota, slot: Slot, limits: Limits) -> None:
        self._quota = quota
        self._slot = slot
        self._limits = limits
        self._is_over = False

    async def end(self, tokens: int) -> None:
        """Charge the tokens and free the slot, also when the caller of this is cancelled."""
        if not self._is_over:
            self._is_over = True
            await self._quota.give(self._slot, self._limits, tokens)


class Quota:
    """Admits requests of keys that have limits."""

    def __init__(
        self,
        store: QuotaStore,
        metrics: Metrics,
        *,
        when_away: Literal["admit", "refuse"],
        lease_s: float,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._when_away = when_away
        self._lease_s = lease_s
        self._held: set[Slot] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def admit(
        self, key_id: str | None, limits: Limits, state: MutableMapping[str, Any]
    ) -> None:
        """Admit a request, and leave in its state what its answer needs: headers and the lease.

        Raises:
            LimitReached: one of the limits is.
            StoreUnavailable: it is away, and by setting nobody is then admitted unchecked.
        """
        if key_id is None or limits == UNLIMITED:
            return
        slot = (key_id, secrets.token_hex(8))
        try:
            standing = await self._store.take(slot, limits, self._lease_s)
        except StoreUnavailable:
            self._metrics.limit_checks(LimitOutcome.UNCHECKED).inc()
            if self._when_away == "refuse":
                raise
            return
        state["ratelimit"] = _headers(standing, limits)
        self._metrics.limit_checks(standing.refused_by or LimitOutcome.ADMITTED).inc()
        if standing.refused_by is not None:
            raise LimitReached(_REFUSALS[standing.refused_by], retry_after_s=standing.wait_s)
        if limits.concurrent is not None:
            self._held.add(slot)
        if limits.concurrent is not None or limits.tokens_per_minute is not None:
            state["lease"] = Lease(self, slot, limits)

    async def give(self, slot: Slot, limits: Limits, tokens: int) -> None:
        self._held.discard(slot)
        ending = asyncio.create_task(self._give(slot, limits, tokens))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        await asyncio.shield(ending)

    async def keep(self) -> None:
        """Renew the slots of what is being answered, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS)
            if self._held:
                with contextlib.suppress(StoreUnavailable):
                    await self._store.renew(list(self._held), self._lease_s)

    async def _give(self, slot: Slot, limits: Limits, tokens: int) -> None:
        # Lost with a store that is away: the answer is out, and the slot runs out by itself.
        with contextlib.suppress(StoreUnavailable):
            await self._store.give(slot, limits, tokens)


_REFUSALS = {
    LimitOutcome.REQUESTS: "this key's limit of requests per minute is reached",
    LimitOutcome.TOKENS: "this key's limit of tokens per minute is reached",
    LimitOutcome.CONCURRENT: "this key's limit of concurrent requests is reached",
}


def _headers(standing: Standing, limits: Limits) -> Headers:
    """What OpenAI's clients read: the limit, what is left of it, and when it is whole again."""
    headers: Headers = []
    for name, limit, left in (
        (b"requests", limits.requests_per_minute, standing.requests),
        (b"tokens", limits.tokens_per_minute, standing.tokens),
    ):
        if limit is not None:
            reset = _duration((limit - left) * 60 / limit)
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % max(0, int(left + 1e-6))),
                (b"x-ratelimit-reset-" + name, reset.encode()),
            ]
    return headers


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `120ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{round(seconds, 1):g}s"
    return f"{int(seconds // 60)}m{int(seconds % 60)}s"
