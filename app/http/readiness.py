"""Readiness: a loop over pings, one of each dependency; asked for, and watched for the metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from app.http.ending import Ending
from app.metrics import Dependency, Metrics
from model.errors import PersonaDualError

logger = logging.getLogger("personadual.gateway")

Ping = Callable[[], Awaitable[None]]
OK = "ok"
LIMIT_S = 5.0
WATCH_S = 15.0
"""How old what the metrics say of a dependency may be."""


class Readiness:
    """Asks everything that an answer needs, all at once."""

    def __init__(self, pings: Mapping[Dependency, Ping], metrics: Metrics, ending: Ending) -> None:
        self._pings = dict(pings)
        self._ending = ending
        self._metrics = metrics

    async def report(self) -> dict[str, str]:
        """`ok` or the reason, by name; one that is about to end names itself too."""
        states = await asyncio.gather(*map(_state, self._pings.values()))
        report = dict(zip(self._pings, states, strict=True))
        for dependency, state in report.items():
            self._metrics.tell_dependency(dependency, is_up=state == OK)
        told = {dependency.value: state for dependency, state in report.items()}
        return {"gateway": "is about to end", **told} if self._ending.has_begun else told

    async def watch(self) -> None:
        """Keep the metrics true, until cancelled."""
        while True:
            await self.report()
            await asyncio.sleep(WATCH_S)


async def _state(ping: Ping) -> str:
    try:
        async with asyncio.timeout(LIMIT_S):
            await ping()
    except PersonaDualError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {LIMIT_S:.0f} s"
    except Exception as error:  # the edge: the watch goes on, and a probe gets its answer
        logger.exception("a look at what an answer needs failed")
        return f"it cannot be told: {type(error).__name__}"
    return OK
