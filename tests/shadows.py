"""Shadows in tests: a gateway in which each answer with a persona gets one, and what it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.fake_engine import FakeEngine, Script
from testbed.http import chat, put_persona
from tests.conftest import Gateway, Starter
from tests.test_metrics import scrape, value

PERSONA = "Ada loves purple okapis"
OUTCOMES = [
    *("general_same", "general_different", "personalized_same", "personalized_different"),
    *("dropped", "failed", "skipped"),
]


def outcomes(gateway: Gateway) -> dict[str, int]:
    """The counters that are not zero."""
    text = scrape(gateway)
    counts = {o: value(text, f'personadual_shadow_total{{outcome="{o}"}}') for o in OUTCOMES}
    return {outcome: int(count) for outcome, count in counts.items() if count}


def has_persona(body: dict[str, Any]) -> bool:
    return PERSONA in json.dumps(body["messages"])


def without(script: Script, **behaviour: Any) -> Script:
    """Script requests that have no persona; says how they behave, to be changed."""
    other = Script(**behaviour)
    script.choose = lambda body: script if has_persona(body) else other
    return other


@pytest.fixture
def shadowed(start_gateway: Starter, fake: FakeEngine, script: Script) -> Gateway:
    """A gateway in which every answer with a persona gets a shadow."""
    gateway = start_gateway(fake.url, shadow_rate=1.0)
    put_persona(gateway.url, "ada", PERSONA)
    return gateway


def ask(gateway: Gateway, content: str = "x", **fields: Any) -> Any:
    answer = chat(gateway.url, content, **{"user": "ada", "temperature": 0, **fields})
    assert answer.status == 200
    return answer
