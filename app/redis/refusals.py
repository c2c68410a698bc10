"""Refusals: of a store that answers, and refuses (a full memory, a disk that fails, a replica).

What refuses one command refuses every one of its kind, at each probe and each request; the log
hears when a reason appears and when it is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

logger = logging.getLogger("personadual.store")

QUIET_S = 60.0
"""So long refused for a reason no more, while others were answered: it is over. Some commands are
answered all the time that others are refused, so that an answer alone says nothing."""


class Refusals:
    """The reasons for which commands are being refused, told on change."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_at: dict[str, float] = {}

    def note(self, error: ResponseError) -> None:
        """A command was refused. The rest of what Redis says may hold a key, and so an id."""
        # redis-py takes the code out of the text of those errors that it has a class for.
        reason = error.status_code or str(error).split(" ", 1)[0]
        if reason not in self._last_at:
            logger.error("the store refuses commands: %s", reason)
        self._last_at[reason] = self._clock()

    def note_answer(self) -> None:
        """A command was answered."""
        if not self._last_at:
            return
        now = self._clock()
        for reason, last_at in list(self._last_at.items()):
            if now - last_at >= QUIET_S:
                del self._last_at[reason]
                logger.warning("the store has refused nothing for %.0f s: %s", QUIET_S, reason)
