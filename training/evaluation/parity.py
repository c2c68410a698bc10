"""Parity: are people of every occupation, age, gender or country answered alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.mode import Mode
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Array, Term
from training.evaluation.measures import READINGS, Label, Measure
from training.evaluation.sheet import Sheet
from training.items import Item, Kind

MAX_VALUES = 12
"""An attribute is shown by its most frequent values."""
MIN_ASKED = 5
DEALS = 999
IsHit = Callable[[Answer], bool]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Gap:
    """The widest gap of an attribute's values: `top` over `bottom`, in `measure`.

    The two were picked because they lie furthest apart, so that an interval of their difference
    would promise too much. `p_value`: how often values that are dealt out anew, among questions of
    one kind and condition, lie at least this far apart.
    """

    measure: str
    way: str
    attribute: str
    top: str
    bottom: str
    value: float
    p_value: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """Answers, each with the value that an attribute of its persona has."""

    answers: list[Answer]
    values: list[str]


def parity(sheet: Sheet, items: Sequence[Item], reading: str) -> list[Measure]:
    """Accuracy on facts and rate of personalised mode per value of each attribute; nothing where
    items carry no attributes."""
    return [
        Measure(Label(f"parity_{measure}", way, f"{name}={value}"), (term,))
        for way, name, seen in _attributes(sheet, items)
        for measure, (kept, is_hit) in _measures(seen, reading).items()
        for value, term in _terms(sheet, kept, is_hit).items()
    ]


def gaps(sheet: Sheet, items: Sequence[Item], reading: str) -> list[Gap]:
    """The widest gap of each attribute, of values beside which `MIN_ASKED` questions were asked."""
    return [
        gap
        for way, name, seen in _attributes(sheet, items)
        for measure, (kept, is_hit) in _measures(seen, reading).items()
        if (gap := _gap(measure, way, name, kept, is_hit))
    ]


def _attributes(sheet: Sheet, items: Sequence[Item]) -> Iterator[tuple[str, str, _Seen]]:
    """Way, attribute, and the answers beside a persona that has one of its most frequent values."""
    known = {
        (item.id, condition.value): {name: _group(name, v) for name, v in of.items()}
        for item in items
        for condition, of in item.attributes.items()
    }
    names = sorted({name for of in known.values() for name in of})
    for way in sheet.automatic:
        shown = [a for a in sheet.of(way) if a.condition in (Shown.ALIGNED, Shown.UNALIGNED)]
        for name in names:
            told = [
                (answer, value)
                for answer in shown
                if (value := known.get((answer.item, answer.condition.value), {}).get(name))
                is not None
            ]
            counts = Counter(value for _, value in told)
            most = sorted(counts, key=lambda value: (-counts[value], value))[:MAX_VALUES]
            kept = [(answer, value) for answer, value in told if value in most]
            if kept:
                yield way, name, _Seen([a for a, _ in kept], [value for _, value in kept])


def _measures(seen: _Seen, reading: str) -> dict[str, tuple[_Seen, IsHit]]:
    facts = [
        (answer, value)
        for answer, value in zip(seen.answers, seen.values, strict=True)
        if answer.kind is Kind.OBJECTIVE
    ]
    return {
        "accuracy": (_Seen([a for a, _ in facts], [v for _, v in facts]), READINGS[reading]),
        "personalized_rate": (seen, lambda answer: answer.mode is Mode.PERSONALIZED),
    }


def _terms(sheet: Sheet, seen: _Seen, is_hit: IsHit) -> dict[str, Term]:
    groups: dict[str, list[Answer]] = {}
    for answer, value in zip(seen.answers, seen.values, strict=True):
        groups.setdefault(value, []).append(answer)
    return {value: sheet.rate(groups[value], is_hit) for value in sorted(groups)}


def _gap(measure: str, way: str, attribute: str, seen: _Seen, is_hit: IsHit) -> Gap | None:
    found: dict[tuple[str, Shown], tuple[str, str, list[bool]]] = {}
    for answer, value in zip(seen.answers, seen.values, strict=True):
        kind = f"{answer.kind}/{answer.condition}"
        asked = found.setdefault((answer.item, answer.condition), (value, kind, []))
        asked[2].append(is_hit(answer))
    # Several seeds of a question are one: they are not dealt out apart from each other.
    values, kinds = [value for value, _, _ in found.values()], [k for _, k, _ in found.values()]
    hits = np.array([sum(marks) / len(marks) for _, _, marks in found.values()])
    counts = Counter(values)
    names = sorted(value for value in counts if counts[value] >= MIN_ASKED)
    if len(names) < 2:
        return None
    # The last place is of the values that are too rare.
    places = np.array([names.index(v) if v in names else len(names) for v in values])
    means = _means(places[None], hits, len(names))[0]
    width = float(means.max() - means.min())
    drawn = _means(_dealt(places, np.array(kinds)), hits, len(names))
    as_wide = int((drawn.max(axis=1) - drawn.min(axis=1) >= width - 1e-9).sum())
    top, bottom = names[int(means.argmax())], names[int(means.argmin())]
    return Gap(measure, way, attribute, top, bottom, width, (1 + as_wide) / (1 + DEALS))


def _dealt(places: Places, kinds: npt.NDArray[np.str_]) -> Places:
    """The values dealt out anew, `[DEALS, A]`: each kind of question keeps its own."""
    rng = np.random.default_rng(0)
    dealt = np.tile(places, (DEALS, 1))
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        dealt[:, mine] = rng.permuted(dealt[:, mine], axis=1)
    return dealt


def _means(places: Places, hits: Array, count: int) -> Array:
    """The mean of each value's hits, `[D, A]` to `[D, count]`."""
    masks = [places == one for one in range(count)]
    found: Array = np.stack([(mask * hits).sum(1) / mask.sum(1) for mask in masks], axis=1)
    return found


def _group(name: str, value: object) -> str:
    """Ages are grouped by decade; everything else stands for itself."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "age" and is_number:
        decade = int(float(str(value))) // 10 * 10
        return f"{decade} to {decade + 9}"
    return str(value)
