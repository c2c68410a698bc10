"""Parity: are people of every occupation, age, gender or country answered alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model.mode import Mode
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Term
from training.evaluation.measures import READINGS, Label, Measure
from training.evaluation.sheet import Sheet
from training.items import Item, Kind

MAX_VALUES = 12
"""An attribute is shown by its most frequent values."""
MIN_ANSWERS = 5


def parity(sheet: Sheet, items: Sequence[Item]) -> list[Measure]:
    """Accuracy on facts and rate of personalised mode per value of each attribute, and the widest
    gap between two of them; nothing where items carry no attributes.

    The gap is taken between the values that lie furthest apart, so it is never negative and with
    many small groups it is wide by chance.
    """
    values = {
        (item.id, condition.value): {name: _group(name, v) for name, v in known.items()}
        for item in items
        for condition, known in item.attributes.items()
    }
    found: list[Measure] = []
    for way in sheet.automatic:
        shown = [a for a in sheet.of(way) if a.condition in (Shown.ALIGNED, Shown.UNALIGNED)]
        by_value: dict[str, dict[str, list[Answer]]] = {}
        for answer in shown:
            for name, value in values.get((answer.item, answer.condition.value), {}).items():
                by_value.setdefault(name, {}).setdefault(value, []).append(answer)
        for name, groups in sorted(by_value.items()):
            found += _of_attribute(sheet, way, name, groups)
    return found


def _of_attribute(
    sheet: Sheet, way: str, name: str, groups: dict[str, list[Answer]]
) -> Iterator[Measure]:
    most = sorted(groups, key=lambda value: (-len(groups[value]), value))[:MAX_VALUES]
    for measure in ("accuracy", "personalized_rate"):
        terms: dict[str, Term] = {}
        for value in sorted(most):
            facts = [answer for answer in groups[value] if answer.kind is Kind.OBJECTIVE]
            if measure == "accuracy":
                terms[value] = sheet.rate(facts, READINGS["exact"])
            else:
                terms[value] = sheet.rate(groups[value], lambda a: a.mode is Mode.PERSONALIZED)
            yield Measure(Label(f"parity_{measure}", way, f"{name}={value}"), (terms[value],))
        means = {
            value: share.hits.sum() / share.of.sum()
            for value, (_, share) in terms.items()
            if share.of.sum() >= MIN_ANSWERS
        }
        if len(means) > 1:
            top, bottom = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
            label = Label(f"parity_gap_{measure}", way, f"{name}: {top} over {bottom}")
            gap = (1, terms[top][1]), (-1, terms[bottom][1])
            yield Measure(label, gap, is_paired=False)


def _group(name: str, value: object) -> str:
    """Ages are grouped by decade; everything else stands for itself."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "age" and is_number:
        decade = int(float(str(value))) // 10 * 10
        return f"{decade} to {decade + 9}"
    return str(value)
