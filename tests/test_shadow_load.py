"""Shadows beside answers: no answer waits for one, and all end in time."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.chat.plan import Plan
from model.vllm import CHAT_PATH
from testbed.fake_engine import FakeEngine, Script
from testbed.http import put_persona
from tests.conftest import Gateway, Starter, wait_until
from tests.shadows import PERSONA, ask, outcomes, shadowed, without
from tests.test_metrics import scrape, value

__all__ = ["shadowed"]  # the fixture


@contextmanager
def slow_stream(gateway: Gateway, fake: FakeEngine) -> Iterator[socket.socket]:
    """A caller without persona whose stream is under way, if the script is slow."""
    host, port = gateway.url.removeprefix("http://").split(":")
    raw = json.dumps({"messages": [{"role": "user", "content": "slow"}], "stream": True}).encode()
    before = fake.running
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        wait_until(lambda: fake.running > before)
        yield connection


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_rate_is_a_share(
    start_gateway: Starter, fake: FakeEngine, script: Script, rate: float
) -> None:
    """Of 400 answers 120 are drawn at 0.3, give or take 5 standard deviations; none at 0."""
    gateway = start_gateway(fake.url, shadow_rate=rate, shadow_concurrency=1_000)
    put_persona(gateway.url, "ada", PERSONA)
    for _ in range(400):
        ask(gateway)
    deviation = (400 * rate * (1 - rate)) ** 0.5
    wait_until(lambda: len(script.seen) == 400 + sum(outcomes(gateway).values()))
    assert abs(sum(outcomes(gateway).values()) - 400 * rate) <= 5 * deviation


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_does_not_wait_for_its_shadow(
    shadowed: Gateway, script: Script, fake: FakeEngine, stream: bool
) -> None:
    """While a shadow is under way its request is over, and nothing of it is kept."""
    other = without(script, delay_s=0.3)
    ask(shadowed, stream=stream)
    wait_until(lambda: fake.running == 1)
    assert outcomes(shadowed) == {}
    assert 'personadual_requests_total{route="chat",status="200"} 1.0' in scrape(shadowed)
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Plan]
    other.delay_s = 0
    wait_until(lambda: outcomes(shadowed) == {"general_same": 1})


def test_no_more_at_once_than_allowed(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """What is over the number is dropped, and there is no queue in which it waits."""
    gateway = start_gateway(fake.url, shadow_rate=1.0, shadow_concurrency=2)
    put_persona(gateway.url, "ada", PERSONA)
    without(script, delay_s=0.1)
    for _ in range(7):
        ask(gateway)
    assert fake.running == 2
    assert outcomes(gateway) == {"dropped": 5}
    wait_until(lambda: outcomes(gateway) == {"dropped": 5, "general_same": 2})
    assert len(script.seen) == 9


def test_shadows_are_the_first_to_go_under_load(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """None begins while the gateway is busy, and one under way is given up."""
    gateway = start_gateway(fake.url, shadow_rate=1.0, shadow_busy_from=2)
    put_persona(gateway.url, "ada", PERSONA)
    without(script, delay_s=5)
    ask(gateway)
    wait_until(lambda: fake.running == 1)
    # One in flight and the scrape of metrics are two: the first shadow goes.
    with slow_stream(gateway, fake), slow_stream(gateway, fake):
        wait_until(lambda: fake.running == 2, 2)
        assert outcomes(gateway) == {"dropped": 1}
        ask(gateway)
        assert outcomes(gateway) == {"dropped": 2}
    wait_until(lambda: fake.running == 0)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_shadow_that_fails_is_counted_and_troubles_nobody(
    shadowed: Gateway, script: Script, caplog: Any, status: int
) -> None:
    without(script, status=status)
    ask(shadowed)
    wait_until(lambda: outcomes(shadowed) == {"failed": 1})
    ask(shadowed, personadual={"persona": PERSONA})
    assert "Traceback" not in caplog.text


def test_a_caller_who_leaves_leaves_no_shadow(
    shadowed: Gateway, fake: FakeEngine, script: Script
) -> None:
    """An answer that nobody read to its end is compared with nothing."""
    script.delay_s = 0.02
    script.answer = "word " * 50
    stream = shadowed.client.chat.completions.create(
        model="pocket",
        user="ada",
        temperature=0,
        messages=[{"role": "user", "content": "x"}],
        stream=True,
    )
    with stream:
        next(iter(stream))
    wait_until(lambda: fake.running == 0)
    time.sleep(0.1)
    assert len(script.seen) == 1
    assert outcomes(shadowed) == {}


def test_a_stream_that_breaks_leaves_no_shadow(shadowed: Gateway, script: Script) -> None:
    script.fail_after = 8
    ask(shadowed, stream=True)
    assert len(script.seen) == 1
    assert outcomes(shadowed) == {}


def test_shadows_end_with_the_gateway(shadowed: Gateway, fake: FakeEngine, script: Script) -> None:
    """At once, and the engine is free of them; they count as dropped."""
    without(script, delay_s=30)
    for _ in range(3):
        ask(shadowed)
    wait_until(lambda: fake.running == 3)
    begun = time.monotonic()
    shadowed.stop()
    assert time.monotonic() - begun < 3
    wait_until(lambda: fake.running == 0, 2)
    text = shadowed.app.state.parts.metrics.render().decode()
    assert value(text, 'personadual_shadow_total{outcome="dropped"}') == 3
