"""Readiness: a loop over named pings. Who opens a resource registers its ping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from model.errors import PersonaDualError

Ping = Callable[[], Awaitable[None]]
LIMIT_S = 5.0


class Readiness:
    """Asks everything that an answer needs, all at once."""

    def __init__(self, pings: Mapping[str, Ping]) -> None:
        self._pings = dict(pings)

    async def report(self) -> dict[str, str]:
        """`ok` or the reason, by name."""
        states = await asyncio.gather(*map(_state, self._pings.values()))
        return dict(zip(self._pings, states, strict=True))


async def _state(ping: Ping) -> str:
    try:
        async with asyncio.timeout(LIMIT_S):
            await ping()
    except PersonaDualError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {LIMIT_S:.0f} s"
    return "ok"
