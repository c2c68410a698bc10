"""Readiness: whatever a look at a dependency ends in is a reason, and the watch goes on."""

from __future__ import annotations

import asyncio

from app.http.ending import Ending
from app.http.readiness import Readiness
from app.metrics import Dependency, Metrics
from model.errors import EngineUnavailable


async def test_any_failure_is_a_reason() -> None:
    """A bug of ours as well; what it says may hold anything and stays out."""

    async def fails() -> None:
        raise RuntimeError("okapi")

    async def refuses() -> None:
        raise EngineUnavailable("the engine cannot be reached")

    async def answers() -> None: ...

    pings = {
        Dependency.REDIS: answers,
        Dependency.ENGINE: refuses,
        Dependency.GATE: fails,
    }
    readiness = Readiness(pings, Metrics(), Ending(0))
    assert await readiness.report() == {
        "redis": "ok",
        "engine": "the engine cannot be reached",
        "gate": "it cannot be told: RuntimeError",
    }
    watching = asyncio.create_task(readiness.watch())
    await asyncio.sleep(0.05)
    assert not watching.done()
    watching.cancel()
