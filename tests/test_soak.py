"""The soak: a short one in earnest, and that its checks can fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
import pytest

from benchmarks.soak import Report, differences, sample, slope, soak
from benchmarks.soak_ledger import Ledger, Wish
from benchmarks.soak_traffic import Caller, Site

SITE = Site("http://127.0.0.1:9", {"acme": "k"}, "l")
QUESTION = '{"lean":"general","number":1}'


def test_a_short_soak() -> None:
    """Every kind of traffic, and nothing is wrong: replies, tags, counts."""
    report = asyncio.run(soak(seconds=6, callers=8))
    assert not report.faults()
    assert len(report.ledger.kinds) == 10, "every kind of traffic"
    assert report.requests > 150
    grown = report.memory[-1][1] - report.memory[1][1]
    assert grown < 15, f"{grown:.1f} MB in 6 s"


def test_one_request_too_many_shows() -> None:
    """In either direction, and by name."""
    key = sample("requests_total", route="chat", status="200")
    idle = {sample("inflight"): 0.0}
    assert not differences(Counter({key: 3}), {key: 3.0, **idle})
    [found] = differences(Counter({key: 3}), {key: 4.0, **idle})
    assert "requests_total" in found
    assert differences(Counter({key: 3}), idle)
    assert differences(Counter({sample("lookups"): 1}), idle)
    assert differences(Counter(), {sample("inflight"): 1.0})


def test_growth_shows() -> None:
    """Half a kilobyte a request, by least squares and only after the warm-up."""
    points = [(float(second), 70 + second * 0.01 + second % 2) for second in range(1200)]
    assert slope(points) == pytest.approx(0.01, abs=1e-4)
    assert any("memory" in fault for fault in Report(1200, Ledger(), {}, points).faults())
    warm = [(float(second), min(70 + second, 100.0)) for second in range(1200)]
    assert not any("memory" in fault for fault in Report(1200, Ledger(), {}, warm).faults())


class Canned(Caller):
    """A caller that is given one reply, whatever it asks."""

    def __init__(self, ledger: Ledger, reply: Any) -> None:
        session: Any = aiohttp.ClientSession.__new__(aiohttp.ClientSession)
        super().__init__(0, SITE, session, ledger)
        self._reply = reply

    def wish(self, *, is_plain: bool = False, **fields: Any) -> Wish:
        messages = [["system", "Ada."], ["user", QUESTION]]
        return Wish({"user": "ada"}, "general", "model", "applied", messages, looks_up=True)

    async def _call(self, *_arguments: Any) -> tuple[int, bytes, Mapping[str, str]]:
        raw = orjson.dumps(self._reply)
        self._ledger.look_for_tags(raw)
        return 200, raw, {"x-personadual-mode": "general", "x-personadual-source": "model"}


def reply(content: str, mode: str = "general", status: str = "applied") -> dict[str, Any]:
    message = {"content": content, "reasoning_content": "So."}
    extension = {"mode": mode, "source": "model", "persona": {"status": status}}
    return {"choices": [{"message": message}], "personadual": extension, "usage": {}}


RIGHT = orjson.dumps([["system", "Ada."], ["user", QUESTION]]).decode()
FOREIGN = RIGHT.replace("Ada.", "Bob.")


@pytest.mark.parametrize(
    ("shown", "is_right"),
    [
        (reply(RIGHT), True),
        (reply(FOREIGN), False),
        (reply(RIGHT[:-1]), False),
        (reply(RIGHT, mode="personalized"), False),
        (reply(RIGHT, status="absent"), False),
        (reply("[General_mode]\n" + RIGHT), False),
    ],
    ids=["right", "another's persona", "cut", "mode", "status", "tag"],
)
async def test_a_wrong_reply_shows(shown: dict[str, Any], is_right: bool) -> None:
    ledger = Ledger()
    caller = Canned(ledger, shown)
    caller._random.choice = lambda _choices: 1  # type: ignore[method-assign]
    await caller.answer()
    assert (not ledger.wrong_count and not ledger.leaks) == is_right
