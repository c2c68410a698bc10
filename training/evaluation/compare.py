"""Compare: two runs side by side, on the questions that both asked, in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from model.errors import PersonaDualError
from model.mode import Isolation, Mode
from training.evaluation.answers import Answer, Asked, read_answers, read_asked
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Bootstrap, Estimate, SignTest, estimate, sign_test
from training.evaluation.measures import Label, Measure, measures
from training.evaluation.page import frame
from training.evaluation.plots import signed
from training.evaluation.sections import TITLES
from training.evaluation.sheet import Sheet
from training.evaluation.tables import WAYS, number, p_value, section, table, words

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
    return Comparison(*asked, len(items), pairs)


def _question(answer: Answer) -> tuple[str, Shown, Isolation | None, Mode | None, int]:
    """What was asked, and how. Without a persona there is nothing to isolate."""
    isolation = None if answer.condition is Shown.NONE else answer.isolation
    return answer.item, answer.condition, isolation, answer.forced, answer.seed


def _pair(first: Measure, second: Measure, bootstrap: Bootstrap) -> Pair | None:
    is_rate = first.unit == "share"
    terms = [*second.terms, *((-sign, share) for sign, share in first.terms)]
    values = [
        estimate(found, bootstrap, is_rate=is_rate) for found in (first.terms, second.terms, terms)
    ]
    if values[0] is None or values[1] is None or values[2] is None:
        return None
    is_tested = is_rate and len(terms) == 2
    test = None
    if is_tested:
        test = sign_test(second.terms[0][1], first.terms[0][1], bootstrap.of_item)
    return Pair(first.label, first.unit, values[0], values[1], values[2], test)


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
    about = "Second minus first, on the same items; shares in points."
    return frame(
        title=f"{first.model} and {second.model}",
        about=f"PersonaDual evaluation \u00b7 {comparison.items:,} items asked of both",
        headline=f"<span>{escape(_said(comparison))}</span>",
        notes=[],
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
