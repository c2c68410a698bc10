"""Compare: two runs side by side, on the questions that both asked, in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import PersonaDualError
from model.mode import Isolation, Mode
from training.evaluation.answers import Answer, Asked, read_answers, read_asked
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Bootstrap, Estimate, SignTest, Term, estimate, sign_test
from training.evaluation.measures import Label, Measure, measures
from training.evaluation.page import frame
from training.evaluation.plan import Plan
from training.evaluation.plots import signed
from training.evaluation.sections import TITLES
from training.evaluation.sheet import Sheet
from training.evaluation.tables import WAYS, number, p_value, section, table, words
from training.items import DataInvalid

COMPARED = (
    *("accuracy", "interference", "benefit", "injection", "adoption", "personalized_accuracy"),
    *("negative_flips", "positive_flips"),
    *("agreement", "brier", "regret", "oracle_accuracy", "swap_invariance", "swap_change"),
    *("valid_format", "failed", "latency", "tokens"),
)
SIGNED = frozenset({*TITLES, "regret"})
"""Shares that may be negative."""


class NotComparable(PersonaDualError):
    """Two runs have no item in common, or asked other questions under the same ids."""

    code = "not_comparable"


@dataclass(frozen=True, slots=True)
class Pair:
    """A measure in both runs, and the second minus the first."""

    label: Label
    unit: str
    first: Estimate
    second: Estimate
    difference: Estimate
    test: SignTest | None


@dataclass(frozen=True, slots=True)
class Comparison:
    first: Asked
    second: Asked
    items: int
    pairs: list[Pair]
    notes: list[str]


def compare(first: Path, second: Path) -> Comparison:
    """Measure both runs on what both asked: item, condition, way and seed.

    Raises:
        DataInvalid: a folder holds no run.
        NotComparable: nothing is common to them.
    """
    asked = read_asked(first), read_asked(second)
    answers = read_answers(first), read_answers(second)
    common = {_question(a) for a in answers[0]} & {_question(a) for a in answers[1]}
    items = sorted({item for item, *_ in common})
    if not items or asked[0].suite_sha256 != asked[1].suite_sha256:
        raise NotComparable(f"{first} and {second} asked the questions of different suites")
    sheets = [
        Sheet([a for a in one if _question(a) in common], items, has_modes=of.has_modes)
        for of, one in zip(asked, answers, strict=True)
    ]
    found = [{measure.label: measure for measure in measures(sheet)} for sheet in sheets]
    bootstrap = Bootstrap(sheets[0].groups)
    pairs = [
        pair
        for name in COMPARED
        for label, measure in found[0].items()
        if label.measure == name
        and label in found[1]
        and (pair := _pair(measure, found[1][label], bootstrap))
    ]
    gap = differing(asked[0].plan, asked[1].plan)
    notes = [f"Asked differently: {gap}."] if gap else []
    return Comparison(*asked, len(items), pairs, notes)


def _question(answer: Answer) -> tuple[str, Shown, Isolation | None, Mode | None, int]:
    """What was asked, and how. Without a persona there is nothing to isolate."""
    isolation = None if answer.condition is Shown.NONE else answer.isolation
    return answer.item, answer.condition, isolation, answer.forced, answer.seed


def differing(first: Plan, second: Plan) -> str:
    """The settings in which two plans differ, with both values: "temperature 0 and 0.6"."""
    shown = _settings(first), _settings(second)
    return "; ".join(
        f"{name} {value} and {shown[1][name]}"
        for name, value in shown[0].items()
        if value != shown[1][name]
    )


def _settings(plan: Plan) -> dict[str, str]:
    """A plan in words; what a plain one has for what it does not send says nothing."""
    settings: dict[str, Any] = {field.name: getattr(plan, field.name) for field in fields(plan)}
    if plan.is_plain:
        settings |= dict.fromkeys(("temperature", "max_tokens"), "the endpoint's own")
    return {
        name.removeprefix("is_").replace("_", " "): _worded(value)
        for name, value in settings.items()
    }


def _worded(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _pair(first: Measure, second: Measure, bootstrap: Bootstrap) -> Pair | None:
    is_rate = first.unit == "share"
    # Which items count may depend on what a run answered: a mode that it took, a probability that
    # it gave. Each side is of those that count in both, else they would not differ by what is said.
    has = [share.of > 0 for _, share in (*first.terms, *second.terms)]
    kept = np.all(has, axis=0)
    before, after = _masked(first.terms, kept), _masked(second.terms, kept)
    terms = [*after, *((-sign, share) for sign, share in before)]
    values = [estimate(found, bootstrap, is_rate=is_rate) for found in (before, after, terms)]
    if values[0] is None or values[1] is None or values[2] is None:
        return None
    is_tested = is_rate and len(terms) == 2
    test = None
    if is_tested:
        test = sign_test(after[0][1], before[0][1], bootstrap.of_item)
    return Pair(first.label, first.unit, values[0], values[1], values[2], test)


def _masked(terms: Sequence[Term], kept: npt.NDArray[np.bool_]) -> list[Term]:
    """The terms on some of the items alone."""
    return [
        (sign, replace(share, hits=share.hits * kept, of=share.of * kept)) for sign, share in terms
    ]


def cells(pair: Pair) -> tuple[str, str, str, str]:
    """First, second, their difference with its interval, and the test, in words."""
    gap = pair.difference
    if pair.unit == "share":
        one = signed if pair.label.measure in SIGNED else _percent
        said = f"{signed(gap.value)} ({signed(gap.low)} to {signed(gap.high)})"
        return one(pair.first.value), one(pair.second.value), said, p_value(pair.test)
    said = f"{gap.value:+.3g} ({gap.low:+.3g} to {gap.high:+.3g})".replace("-", "\u2212")
    return f"{pair.first.value:.3g}", f"{pair.second.value:.3g}", said, ""


def name(pair: Pair) -> str:
    said = pair.label.measure.replace("_", " ")
    reading = {"": "", "exact": ", read exactly", "lenient": ", read leniently"}
    return said + reading[pair.label.reading]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the comparison as a page.

    Raises:
        DataInvalid: it cannot be written.
    """
    try:
        path.write_text(render(comparison), encoding="utf-8")
    except OSError as error:
        raise DataInvalid(f"{path} cannot be written: {error.strerror}") from error


def render(comparison: Comparison) -> str:
    """The comparison as a page."""
    first, second = comparison.first, comparison.second
    rows = [
        [
            f"{escape(name(pair))}<br><em>{WAYS.get(pair.label.way, pair.label.way)},"
            f" {words(pair.label.part)}</em>",
            *map(number, cells(pair)),
        ]
        for pair in comparison.pairs
    ]
    heads = ["Measure", "first", "second", "second minus first (95%)", "p"]
    about = (
        "Second minus first, shares in points. Each row is of the items that count in it in both"
        " runs, which may be fewer than those of either run's own report."
    )
    return frame(
        title=f"{first.model} and {second.model}",
        about=f"PersonaDual evaluation \u00b7 {comparison.items:,} items asked of both",
        headline=f"<span>{escape(_said(comparison))}</span>",
        notes=comparison.notes,
        parts=list(section("Side by side", about, table(heads, rows))),
        footer=f"First: {first.model} at {first.url}. Second: {second.model} at {second.url}.",
    )


def _said(comparison: Comparison) -> str:
    """Interference of both, in one sentence."""
    shown: Sequence[Pair] = [
        pair
        for pair in comparison.pairs
        if pair.label.measure == "interference" and pair.label.part == "objective"
    ]
    readings = [pair for pair in shown if pair.label.reading == _reading(comparison)]
    if not readings:
        return "Interference was not measured in both."
    pair = readings[0]
    return (
        f"An unrelated persona changes accuracy by {signed(-pair.first.value)} points in"
        f" {comparison.first.model} and by {signed(-pair.second.value)} points in"
        f" {comparison.second.model}."
    )


def _reading(comparison: Comparison) -> str:
    return "exact" if comparison.first.has_modes and comparison.second.has_modes else "lenient"
