"""Sample: which questions of a source are tried, and in which order.

The order comes from a digest of seed and id, so that it depends neither on the order of a file nor
on the machine, and a source that grows keeps most of its choice. Only the pool is held in memory,
which is no larger for many tasks than for one.
"""

from __future__ import annotations

import heapq
from bisect import insort
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
    """The first `size` questions in the order in which they are tried: by turns of the groups in
    the order of their names, each with its lowest ranks first.

    A question's turn is (how many of its group are before it, group). The more rows are read, the
    earlier is the turn that is the `size`th: what is behind it is never needed again, however many
    groups there are, so that no more than `size` are held.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._groups: dict[str, list[tuple[int, str, Question]]] = {}
        self._turns: list[tuple[int, str]] = []
        self._ids: set[tuple[str, str]] = set()

    def add(self, group: str, place: int, question: Question) -> None:
        if (group, question.id) in self._ids:
            return
        self._ids.add((group, question.id))
        mine = self._groups.setdefault(group, [])
        heapq.heappush(mine, (-place, question.id, question))
        turn = (len(mine) - 1, group)
        # Most rows come when the pool is full, and their turn would be the last.
        if len(self._turns) < self._size or turn < self._turns[-1]:
            insort(self._turns, turn)
            if len(self._turns) <= self._size:
                return
            _before, group = self._turns.pop()
        self._leave_out(group)

    def _leave_out(self, group: str) -> None:
        """The last question of a group."""
        mine = self._groups[group]
        self._ids.discard((group, heapq.heappop(mine)[1]))
        if not mine:
            del self._groups[group]

    def ordered(self) -> list[Question]:
        groups = [sorted(self._groups[name], reverse=True) for name in sorted(self._groups)]
        turns = chain.from_iterable(zip_longest(*groups))
        return [entry[2] for entry in turns if entry is not None]


def draw(
    found: Iterable[Question | Skip],
    source: Source,
    tests: KeptOut,
    seen: set[str],
    seed: int,
    dropped: Counter[tuple[str, str]],
) -> list[Question]:
    """The pool of a source in the order in which it is tried: `SPARE` times its quota and `LEAST`
    more, over all its tasks.

    Questions of a test set and those whose normalised text is in `seen` are left out, which grows
    by the others. What is left out is counted under (source, reason).
    """
    pool = _Pool(SPARE * source.quota + LEAST)
    for one in found:
        if isinstance(one, Skip):
            dropped[source.title, one.reason] += 1
            continue
        # With one group the turns are the ranks alone.
        group = one.task if source.spread == "even" else ""
        pool.add(group, rank(seed, "draw", one.id), one)
    chosen: list[Question] = []
    for one in pool.ordered():
        plain = normalise(one.text)
        if tests.overlaps(one.text):
            dropped[source.title, "overlaps with a test set"] += 1
        elif plain in seen:
            dropped[source.title, "duplicate"] += 1
        else:
            seen.add(plain)
            chosen.append(one)
    return chosen
