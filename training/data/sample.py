"""Sample: which questions of a source are tried, and in which order.

The order comes from a digest of seed and id, so that it depends neither on the order of a file nor
on the machine, and a source that grows keeps most of its choice. Only the pool is held in memory.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from itertools import chain, zip_longest

from training.data.overlap import KeptOut, normalise
from training.data.recipe import Source
from training.data.sources import Question, Skip, digest

SPARE = 4
"""Questions in the pool per one that is wanted: the teacher fails, test sets overlap."""
LEAST = 200


def rank(seed: int, what: str, id: str) -> int:
    """A draw for an id that stays the same; `what` makes draws for different ends independent."""
    return int(digest(seed, what, id), 16)


class _Pool:
    """The questions with the lowest ranks, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, Question]] = []
        self._ids: set[str] = set()

    def add(self, place: int, question: Question) -> None:
        if question.id in self._ids:
            return
        self._ids.add(question.id)
        entry = (-place, question.id, question)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            left = heapq.heappushpop(self._heap, entry)
            self._ids.discard(left[1])

    def ordered(self) -> list[Question]:
        return [entry[2] for entry in sorted(self._heap, reverse=True)]


def draw(
    found: Iterable[Question | Skip],
    source: Source,
    tests: KeptOut,
    seen: set[str],
    seed: int,
    dropped: Counter[tuple[str, str]],
) -> list[Question]:
    """The pool of a source in the order in which it is tried.

    Questions of a test set and those whose normalised text is in `seen` are left out, which grows
    by the others. What is left out is counted under (source, reason).
    """
    pools: dict[str, _Pool] = {}
    for one in found:
        if isinstance(one, Skip):
            dropped[source.title, one.reason] += 1
            continue
        group = one.task if source.spread == "even" else ""
        pool = pools.setdefault(group, _Pool(SPARE * source.quota + LEAST))
        pool.add(rank(seed, "draw", one.id), one)
    rows = (pools[group].ordered() for group in sorted(pools))
    # By turns: every task is as likely in the first questions; one pool comes out as it is.
    turns = (one for one in chain.from_iterable(zip_longest(*rows)) if one is not None)
    chosen: list[Question] = []
    for one in turns:
        plain = normalise(one.text)
        if tests.overlaps(one.text):
            dropped[source.title, "overlaps with a test set"] += 1
        elif plain in seen:
            dropped[source.title, "duplicate"] += 1
        else:
            seen.add(plain)
            chosen.append(one)
    return chosen
