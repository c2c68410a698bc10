"""Worst: the items on which a persona did the most harm, with what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.measures import READINGS
from training.evaluation.sheet import way_of
from training.items import Item, Kind

COUNT = 20


@dataclass(frozen=True, slots=True)
class Said:
    """One answer to an item."""

    way: str
    condition: Shown
    text: str
    mode: str | None
    is_correct: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class Worst:
    """An item, what was accepted, and all that was answered (the first seed)."""

    item: str
    kind: Kind
    question: str
    accepted: list[str]
    said: list[Said]


def worst(items: Sequence[Item], answers: Sequence[Answer], reading: str) -> list[Worst]:
    """First what an unaligned persona broke, then what was wrong most often."""
    by_item: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.is_correct is not None:
            by_item.setdefault(answer.item, []).append(answer)
    is_right = READINGS[reading]

    def mean(found: list[Answer], shown: Shown) -> float:
        mine = [is_right(a) for a in found if a.condition is shown and a.forced is None]
        return sum(mine) / len(mine) if mine else 0.0

    def harm(item: Item) -> tuple[float, float]:
        found = by_item[item.id]
        if item.kind is Kind.OBJECTIVE:
            lost = mean(found, Shown.NONE) - mean(found, Shown.UNALIGNED)
        else:
            lost = 0.0
        return lost, sum(not is_right(answer) for answer in found) / len(found)

    asked = [item for item in items if item.id in by_item]
    ranked = sorted(asked, key=lambda item: (*(-part for part in harm(item)), item.id))
    return [
        Worst(item.id, item.kind, item.question, item.answers, _said(by_item[item.id], reading))
        for item in ranked[:COUNT]
        if harm(item)[1] > 0
    ]


def _said(answers: Sequence[Answer], reading: str) -> list[Said]:
    order = list(Shown)
    first = min(answer.seed for answer in answers)
    chosen = [answer for answer in answers if answer.seed == first]
    return [
        Said(
            way_of(answer),
            answer.condition,
            answer.answer,
            answer.mode,
            READINGS[reading](answer),
            answer.error,
        )
        for answer in sorted(chosen, key=lambda a: (way_of(a), order.index(a.condition)))
    ]
