"""The soak's ledger: a caller's wish, and what all have seen, counted under our metrics' names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

TAG_MARK = b"_mode]"
MAX_SHOWN = 20
Sample = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a metric."""


def sample(name: str, **labels: str) -> Sample:
    return f"personadual_{name}", tuple(sorted(labels.items()))


@dataclass
class Ledger:
    """What the callers have seen, all together."""

    counts: Counter[Sample] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0
    leaks: int = 0

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self.counts[sample(name, **labels)] += int(by)

    def hold(self, is_right: bool, what: str) -> None:
        """Note a reply that is not what was asked for."""
        if not is_right:
            self.wrong_count += 1
            if len(self.wrong) < MAX_SHOWN:
                self.wrong.append(what)

    def look_for_tags(self, raw: bytes) -> None:
        self.leaks += TAG_MARK in raw


@dataclass(frozen=True)
class Wish:
    """One chat request, and what it must lead to."""

    body: dict[str, Any]
    mode: str
    source: str
    status: str
    messages: list[list[str]]  # what the engine has to have read
    looks_up: bool

    @property
    def text(self) -> str:
        return orjson.dumps(self.messages).decode()
