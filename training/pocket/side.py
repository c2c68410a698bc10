"""The sides of the split: an entity belongs to one of them by its name, a wording by its place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Side(Enum):
    """Held out, to calibrate on, to reinforce on, or to train on (SFT).

    The value is the range of hundredths. Reinforcement has a side of its own: what SFT has learnt
    by heart is answered right every time, and a group whose rewards are all equal teaches nothing.
    """

    HELD_OUT = range(22)
    CALIBRATION = range(22, 35)
    REINFORCE = range(35, 50)
    TRAIN = range(50, 100)

    def has(self, entity: str) -> bool:
        digest = hashlib.sha256(entity.encode()).digest()
        return int.from_bytes(digest[:4], "big") % 100 in self.value

    def of(self, pool: Sequence[T], name: Callable[[T], str] = str) -> list[T]:
        """The entities that belong to it."""
        return [entry for entry in pool if self.has(name(entry))]

    def words(self, wordings: Sequence[T]) -> Sequence[T]:
        """The wordings that belong to it: an eighth of them to each of the first three sides, from
        the end of the list, and the rest to train on.

        Raises:
            ValueError: they are too few for four sides.
        """
        if len(wordings) < len(Side):
            raise ValueError(f"each side needs a wording of its own: {wordings}")
        others = [Side.HELD_OUT, Side.CALIBRATION, Side.REINFORCE]
        share = max(1, len(wordings) // 8)
        if self is Side.TRAIN:
            return wordings[: -share * len(others)]
        end = len(wordings) - share * others.index(self)
        return wordings[end - share : end]
