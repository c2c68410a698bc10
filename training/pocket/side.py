"""The three sides of the split: an entity belongs to one of them, by its name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Side(Enum):
    """Held-out, to reinforce on, or to train on (SFT); `of` keeps what belongs to it.

    The value is the range of hundredths. Reinforcement has a side of its own: what SFT has learnt
    by heart is answered right every time, and a group whose rewards are all equal teaches nothing.
    """

    HELD_OUT = range(25)
    REINFORCE = range(25, 45)
    TRAIN = range(45, 100)

    def has(self, entity: str) -> bool:
        digest = hashlib.sha256(entity.encode()).digest()
        return int.from_bytes(digest[:4], "big") % 100 in self.value

    def of(self, pool: Sequence[T], name: Callable[[T], str] = str) -> list[T]:
        return [entry for entry in pool if self.has(name(entry))]
