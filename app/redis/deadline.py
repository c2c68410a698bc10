"""A deadline for an answer of Redis, in time in which our own event loop could have heard it.

A loop that is held by other work (a large body, a burst) fires its timers late, and before it
reads what came meanwhile: a plain time-out would take our own standstill for a silence of Redis.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

STEPS = 8
MOST_HELD_S = 2.0
"""So long beyond its limit a block goes on in a loop that is held all the time."""


class Deadline:
    """Ends a block with a TimeoutError after `limit_s`, taken in steps; one in which the loop was
    held for half a step and more is taken again.

    `is_ours`: whether it ended because the loop is held all the time, which says nothing of Redis.
    """

    def __init__(self, limit_s: float) -> None:
        self._step_s = limit_s / STEPS
        self._steps_left = STEPS
        self._last_s = limit_s + MOST_HELD_S
        self.is_ours = False

    async def __aenter__(self) -> Deadline:
        self._block = await asyncio.timeout(None).__aenter__()
        self._begun = time.monotonic()
        self._step()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._block.__aexit__(kind, error, trace)

    def _step(self) -> None:
        self._due = time.monotonic() + self._step_s
        self._timer = asyncio.get_running_loop().call_later(self._step_s, self._end_step)

    def _end_step(self) -> None:
        now = time.monotonic()
        is_held = now - self._due > self._step_s / 2
        if not is_held:
            self._steps_left -= 1
        self.is_ours = is_held and now - self._begun > self._last_s
        if self._steps_left and not self.is_ours:
            self._step()
        else:
            self._block.reschedule(asyncio.get_running_loop().time())
