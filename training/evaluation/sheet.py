"""Sheet: the answers of a run, sorted into ways of asking, and counted per item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from model.mode import Mode
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Share, Term
from training.items import Kind, mode_under

Scored = Iterable[tuple[str, float]]
"""An item's id and what one answer to it counts."""
Group = tuple[str, str]
"""Items of one group ask for one thing, and are drawn together."""


def way_of(answer: Answer) -> str:
    """`auto/shared`, `auto/strict`, `forced/general` or `forced/personalized`."""
    return f"forced/{answer.forced}" if answer.forced else f"auto/{answer.isolation}"


def expected_mode(answer: Answer) -> Mode | None:
    """The mode that an answer should have; None where either is right."""
    return mode_under(answer.wanted, answer.condition)


def group_of(item: str, topic: str, entity: str) -> Group:
    """What an item asks for; one that names no entity stands alone."""
    return (topic, entity) if entity else ("", item)


class Sheet:
    """Answers over a fixed list of items; `ways` are the ways of asking that occur.

    `groups`: per item, what it asks for: items on one topic and one entity are one group.
    `has_tags`: whether the endpoint knows of modes; one that does not can forget none.
    """

    def __init__(
        self,
        answers: Sequence[Answer],
        items: Sequence[str] | None = None,
        *,
        has_modes: bool = True,
    ) -> None:
        self.items = sorted({answer.item for answer in answers}) if items is None else list(items)
        self._places = {item: place for place, item in enumerate(self.items)}
        asked_for = {answer.item: (answer.topic, answer.entity) for answer in answers}
        self.groups = [group_of(item, *asked_for.get(item, ("", ""))) for item in self.items]
        self.answers = [answer for answer in answers if answer.item in self._places]
        self.has_tags = has_modes or any(answer.mode for answer in self.answers)
        self._by_way: dict[str, list[Answer]] = {}
        for answer in self.answers:
            self._by_way.setdefault(way_of(answer), []).append(answer)
        self.ways = sorted(self._by_way)
        self.automatic = [way for way in self.ways if way.startswith("auto/")]
        # Without a persona there is nothing to isolate: it is asked once, for all isolations.
        alone = [a for a in self.answers if a.condition is Shown.NONE and a.forced is None]
        for way in self.automatic:
            others = [a for a in self._by_way[way] if a.condition is not Shown.NONE]
            self._by_way[way] = [*alone, *others]

    def of(
        self, way: str, condition: Shown | None = None, kind: Kind | None = None
    ) -> list[Answer]:
        """The answers to one way of asking."""
        return [
            answer
            for answer in self._by_way.get(way, [])
            if condition in (None, answer.condition) and kind in (None, answer.kind)
        ]

    def share(self, scored: Scored, *, least: float = 0.0) -> Share:
        """Count per item; `least`: the least that an answer may count."""
        hits, of = np.zeros(len(self.items)), np.zeros(len(self.items))
        for item, score in scored:
            hits[self._places[item]] += score
            of[self._places[item]] += 1
        return Share(hits, of, least)

    def rate(self, answers: Iterable[Answer], is_hit: Callable[[Answer], bool]) -> Term:
        return 1, self.share((answer.item, float(is_hit(answer))) for answer in answers)
