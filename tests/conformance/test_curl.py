"""`curl -N` sees each event when it comes; and comments while nothing does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest

from testbed.fake_engine import FakeEngine, Script
from tests.conftest import Gateway, Starter

pytestmark = pytest.mark.program
BODY = json.dumps({"stream": True, "messages": [{"role": "user", "content": "x"}]})


def lines_of(curl: str, url: str) -> list[tuple[float, str]]:
    """Lines of a streamed answer, each with the seconds at which it came."""
    command = [curl, "-sN", f"{url}/v1/chat/completions", "-d", BODY]
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = [(time.monotonic() - begun, line.strip()) for line in running.stdout]
    assert running.returncode == 0
    return [(at_s, line) for at_s, line in lines if line]


def test_events_come_one_by_one(
    program: Callable[[str], str], gateway: Gateway, script: Script
) -> None:
    """Nothing gathers them: the first is there long before the last. No content type needed."""
    script.delay_s = 0.05
    lines = lines_of(program("curl"), gateway.url)
    assert all(line.startswith("data: ") for _, line in lines)
    assert lines[-1][1] == "data: [DONE]"
    assert lines[-1][0] - lines[0][0] > 0.1


@pytest.mark.parametrize("keep_alive_s", [0.1, 0.0])
def test_comments_while_the_engine_is_silent(
    program: Callable[[str], str],
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    keep_alive_s: float,
) -> None:
    """Between events, never within one; none by default."""
    gateway = start_gateway(fake.url, sse_keep_alive_s=keep_alive_s)
    script.delay_s, script.answer = 0.25, "Stew."
    lines = [line for _, line in lines_of(program("curl"), gateway.url)]
    comments = [line for line in lines if line.startswith(":")]
    assert bool(comments) == (keep_alive_s > 0)
    events = [line for line in lines if line not in comments]
    assert all(json.loads(line[6:]) for line in events[:-1])
    assert events[-1] == "data: [DONE]"
