"""What a caller is told, in the words of the table in docs/reliability.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from testbed.http import Answer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


@dataclass(frozen=True)
class Row:
    """One line of the table; `tests` are names like `faults/test_redis.py::test_hung`."""

    fault: str
    told: set[str]
    tests: list[str]


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text().splitlines() if "test_" in line and line[:2] == "| "]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [
        Row(fault, set(told.split("; ")), re.findall(r"`([\w/]+\.py::\w+)`", tests))
        for fault, told, _afterwards, tests in cells
    ]


def in_words(answer: Answer | None) -> str:
    """`200 personalized, applied`, `503 engine_unavailable`, `200, then engine_broken`; None: the
    connection broke."""
    if answer is None:
        return "connection closed"
    if answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream"):
        events = answer.events
        if "error" in events[-1]:
            assert b"[DONE]" not in answer.body
            return f"200, then `{events[-1]['error']['code']}`"
        assert answer.body.endswith(b"data: [DONE]\n\n")
        return _whole(events[0]["personadual"])
    if answer.status == 200:
        return _whole(answer.json["personadual"])
    assert ("retry-after" in answer.headers) == (answer.status == 503)
    return f"{answer.status} `{answer.json['error']['code']}`"


def _whole(extension: dict[str, dict[str, str]]) -> str:
    return f"200, persona {extension['persona']['status']}"
