"""What is known of the engine while it is full, gone or does not describe itself."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from app.chat.served import RETRY_S, ServedModel
from model.errors import EngineTimeout
from model.mode import TagIds, Tags
from testbed.fake_engine import FakeEngine, Script
from testbed.http import chat
from testbed.scripted_reply import TAG_IDS
from tests.conftest import Gateway


class SlowToDescribe:
    """The part of an engine that is asked what it serves; it may be too busy to say."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = "" if root is None else str(root)
        self.looks = 0
        self.is_mute = False

    async def models(self) -> list[dict[str, Any]]:
        self.looks += 1
        if self.is_mute:
            await asyncio.sleep(0.05)
            raise EngineTimeout("the engine did not answer in time")
        return [{"id": f"look {self.looks}", "root": self.root}]

    async def has_gate(self) -> bool:
        return True

    async def tag_ids(self, tags: Tags) -> TagIds:
        return TAG_IDS


async def test_a_doubted_look_serves_until_it_is_renewed() -> None:
    """Nobody waits for the renewal, and where it fails it is not tried at once again."""
    engine = SlowToDescribe()
    served = ServedModel(engine)  # type: ignore[arg-type]
    assert (await served.get()).name == "look 1"
    await asyncio.sleep(RETRY_S + 0.05)
    engine.is_mute = True
    served.doubt()
    for _ in range(20):
        served.doubt()
        assert (await served.get()).name == "look 1"
        await asyncio.sleep(0.01)
    assert engine.looks == 2
    engine.is_mute = False
    await asyncio.sleep(RETRY_S)
    await served.get()
    await asyncio.sleep(0.01)
    assert (await served.get()).name == "look 3"


async def test_an_engine_that_is_gone_is_looked_at_anew() -> None:
    engine = SlowToDescribe()
    served = ServedModel(engine)  # type: ignore[arg-type]
    await served.get()
    served.forget()
    assert (await served.get()).name == "look 2"


@pytest.mark.parametrize("status", [429, 502, 503])
def test_one_full_engine_makes_nobody_wait(
    gateway: Gateway, fake: FakeEngine, script: Script, status: int
) -> None:
    """It refuses one request and is slow to describe itself: the others are answered at once."""
    assert chat(gateway.url).status == 200
    script.status = status
    assert chat(gateway.url).status == 503
    script.status, script.models_after_s = 200, 1.5
    begun = time.monotonic()
    assert [chat(gateway.url).status for _ in range(5)] == [200] * 5
    assert time.monotonic() - begun < 1.0
