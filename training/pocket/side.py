"""The two sides of the split: an entity belongs to one of them, by its name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
HELD_OUT_PERCENT = 25


@dataclass(frozen=True, slots=True)
class Side:
    """Training or held-out; `of` keeps what belongs to it."""

    is_held_out: bool

    def has(self, entity: str) -> bool:
        digest = hashlib.sha256(entity.encode()).digest()
        return (int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT) == self.is_held_out

    def of(self, pool: Sequence[T], name: Callable[[T], str] = str) -> list[T]:
        return [entry for entry in pool if self.has(name(entry))]
