"""A store that answers and refuses: told once when it begins and once when it is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from app.redis.refusals import QUIET_S, Refusals
from testbed.http import call
from tests.conftest import Gateway

FULL = OutOfMemoryError("command not allowed", status_code="OOM")
NO_DISK = ResponseError("MISCONF Redis is configured to save")
LOGGER = "personadual.store"


@pytest.fixture
def without_ping(redis: Redis) -> Iterator[Redis]:
    """Redis as it is where its disk fails: it answers, and refuses the probe's own command."""
    redis.execute_command("ACL", "SETUSER", "default", "-ping")
    yield redis
    redis.execute_command("ACL", "SETUSER", "default", "+ping")


def test_a_probe_that_is_refused_again_and_again_is_one_line(
    gateway: Gateway, without_ping: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        ready = call(gateway.url, "/health/ready")
        assert ready.status == 503
        assert ready.json["checks"]["redis"] == "the store refuses the command"
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert told == ["the store refuses commands: NOPERM"]


def test_a_reason_is_over_when_it_has_not_come_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reads that are answered between refused writes end nothing; each reason has its own end."""
    caplog.set_level("WARNING", LOGGER)
    now = 0.0
    refusals = Refusals(clock=lambda: now)
    for _ in range(100):
        refusals.note(FULL)
        refusals.note_answer()
        now += QUIET_S / 2
    refusals.note(NO_DISK)
    now += QUIET_S / 2
    refusals.note_answer()
    assert caplog.messages == [
        "the store refuses commands: OOM",
        "the store refuses commands: MISCONF",
        "the store has refused nothing for 60 s: OOM",
    ]
    caplog.clear()
    now += QUIET_S
    refusals.note_answer()
    refusals.note(FULL)
    assert caplog.messages == [
        "the store has refused nothing for 60 s: MISCONF",
        "the store refuses commands: OOM",
    ]
