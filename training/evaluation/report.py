"""Report: everything that a run shows, as one typed structure; `report.json` is its JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from model.validation import describe
from training.evaluation.answers import Answer, Asked
from training.evaluation.intervals import LEVEL, Bootstrap, Estimate, SignTest, estimate, sign_test
from training.evaluation.measures import AUTO_SHARED, Label, Measure, measures
from training.evaluation.parity import Gap, gaps, parity
from training.evaluation.reliability import Reliability, reliability
from training.evaluation.sheet import Sheet
from training.evaluation.worst import Worst, worst
from training.items import DataInvalid, Item, Kind

BARS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A measure with its interval; `test` for a difference between two conditions."""

    label: Label
    unit: str
    estimate: Estimate
    test: SignTest | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Answers by probability of personalised mode, in `BARS` steps of equal width."""

    kind: Kind
    counts: list[int]


@dataclass(frozen=True, slots=True)
class Headline:
    """What a reader takes home: interference, read exactly, or leniently without modes.

    `sign`: 1 where a persona costs correctness beyond doubt, which interval and test both have to
    say, -1 where it helps, else 0.
    """

    text: str
    sign: int
    way: str
    reading: str
    interference: Estimate | None


@dataclass(frozen=True, slots=True)
class Report:
    """`format` counts up when the structure changes. Shares and accuracies are 0 to 1."""

    asked: Asked
    headline: Headline
    items: dict[str, int]
    expected: int
    answered: int
    failures: dict[str, int]
    rows: list[Row]
    reliability: dict[str, Reliability]
    latency_percentiles_s: dict[str, dict[str, float]]
    histograms: list[Histogram]
    worst: list[Worst]
    notes: list[str]
    gaps: list[Gap] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)
    format: int = 1

    def find(self, measure: str, way: str, part: str, reading: str = "") -> Row | None:
        wanted = Label(measure, way, part, reading)
        return next((row for row in self.rows if row.label == wanted), None)


def build(
    asked: Asked, items: Sequence[Item], answers: Sequence[Answer], *, expected: int
) -> Report:
    """Measure the answers of a run; `expected` is how many its plan has.

    Raises:
        DataInvalid: there is no answer yet whose mode the model chose.
    """
    sheet = Sheet(answers, has_modes=asked.has_modes)
    if not sheet.automatic:
        raise DataInvalid("nothing was answered yet; the command that asked goes on with it")
    bootstrap = Bootstrap(sheet.groups)
    reading = _reading(asked)
    rows = rows_of([*measures(sheet), *parity(sheet, items, reading)], bootstrap)
    diagrams = {way: reliability(sheet, way, bootstrap) for way in sheet.automatic}
    way = AUTO_SHARED if AUTO_SHARED in sheet.ways else sheet.automatic[0]
    return Report(
        asked=asked,
        headline=_headline(rows, way, asked),
        items=dict(Counter(str(item.kind) for item in items)),
        expected=expected,
        answered=len(sheet.answers),
        failures=dict(Counter(a.error for a in answers if a.error).most_common()),
        rows=rows,
        reliability={name: found for name, found in diagrams.items() if found},
        latency_percentiles_s=_percentiles(sheet),
        histograms=[_histogram(sheet, way, kind) for kind in Kind],
        gaps=gaps(sheet, items, reading),
        worst=worst(items, answers, reading),
        notes=_notes(asked, sheet, expected),
        made={
            "version": version("personadual"),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def rows_of(found: Iterable[Measure], bootstrap: Bootstrap) -> list[Row]:
    """Estimate the measures that have answers."""
    rows = []
    for measure in found:
        is_rate = measure.unit == "share"
        value = estimate(measure.terms, bootstrap, is_rate=is_rate)
        if value is None:
            continue
        test = _test(measure, bootstrap) if len(measure.terms) == 2 else None
        rows.append(Row(measure.label, measure.unit, value, test))
    return rows


def _test(measure: Measure, bootstrap: Bootstrap) -> SignTest:
    (_, first), (_, second) = measure.terms
    return sign_test(first, second, bootstrap.of_item)


def save_report(report: Report, path: Path) -> None:
    text = json.dumps(asdict(report), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def load_report(run: Path) -> Report:
    """The report of a run's folder.

    Raises:
        DataInvalid: there is none, or an unreadable one.
    """
    path = run / "report.json"
    try:
        return TypeAdapter(Report).validate_json(path.read_bytes())
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DataInvalid(f"{path}: {describe(error)}") from error


def _reading(asked: Asked) -> str:
    """A model that was not taught our grammar is not judged by it."""
    return "exact" if asked.has_modes else "lenient"


def _headline(rows: Sequence[Row], way: str, asked: Asked) -> Headline:
    reading = _reading(asked)
    found = {row.label: row for row in rows}
    row = found.get(Label("interference", way, Kind.OBJECTIVE, reading))
    if row is None or row.test is None:
        text = "Interference was not measured: it needs the conditions none and unaligned."
        return Headline(text, 0, way, reading, None)
    cost, test = row.estimate, row.test
    alone, beside = (
        found[Label("accuracy", way, shown, reading)].estimate.value
        for shown in ("none", "unaligned")
    )
    points = f"{abs(cost.value) * 100:.1f} points"
    ends = f"95% interval {cost.low * 100:.1f} to {cost.high * 100:.1f}, p {test.said}"
    ends = ends.replace("-", "\u2212")
    rates = f"{alone:.1%} of factual questions are right without a persona, {beside:.1%} with"
    rates = f"{rates} one that has nothing to do with them."
    is_told = test.p_value < 1 - LEVEL
    if is_told and cost.low > 0:
        text = f"An unrelated persona costs {asked.model} {points} of accuracy ({ends}): {rates}"
        return Headline(text, 1, way, reading, cost)
    if is_told and cost.high < 0:
        text = f"An unrelated persona gains {asked.model} {points} of accuracy ({ends}): {rates}"
        return Headline(text, -1, way, reading, cost)
    seen = f"{cost.value * 100:.1f}".replace("-", "\u2212")
    text = (
        f"Interference in {asked.model} cannot be told from none: {seen} points ({ends}); {rates}"
    )
    return Headline(text, 0, way, reading, cost)


def _percentiles(sheet: Sheet) -> dict[str, dict[str, float]]:
    """Of the answers that came, per way: the seconds that 50, 90 and 99 of 100 stay under."""
    found = {}
    for way in sheet.ways:
        seconds = sorted(answer.latency_s for answer in sheet.of(way) if answer.error is None)
        if seconds:
            found[way] = {
                f"p{rank}": seconds[math.ceil(rank / 100 * len(seconds)) - 1]
                for rank in (50, 90, 99)
            }
    return found


def _histogram(sheet: Sheet, way: str, kind: Kind) -> Histogram:
    counts = [0] * BARS
    for answer in sheet.of(way, kind=kind):
        if answer.probability is not None:
            counts[min(int(answer.probability * BARS), BARS - 1)] += 1
    return Histogram(kind, counts)


def _notes(asked: Asked, sheet: Sheet, expected: int) -> list[str]:
    """What a reader must know before believing the figures."""
    notes = []
    answered = len(sheet.answers)
    failed = sum(answer.error is not None for answer in sheet.answers)
    if answered < expected:
        notes.append(
            f"{answered} of {expected} questions have been asked so far; the run is not over."
        )
    if failed:
        notes.append(
            f"{failed} of {answered} answers failed ({failed / answered:.1%}). They count as wrong"
            " wherever something is right or wrong: a failure that falls more on one condition"
            " moves the differences. Probabilities, seconds and tokens are of the others."
        )
    refused = sum(answer.error == "status 400" for answer in sheet.answers)
    if refused == answered > 0 and not asked.plan.is_plain:
        notes.append(
            "Every request was refused (status 400). Some models take no temperature, max_tokens"
            " or seed: --plain sends none of them (it is another run: give it its own --out)."
        )
    if not asked.has_modes:
        notes.append(
            "This endpoint has no modes: it was asked with the persona in the system message, and"
            " neither forced nor isolated. Its answers are read leniently where one figure stands"
            " for both readings."
        )
    if asked.plan.seeds > 1:
        plan = asked.plan
        own, ours = "the endpoint's own temperature", f"temperature {plan.temperature:g}"
        notes.append(
            f"{plan.seeds} seeds at {own if plan.is_plain else ours}; intervals are over items,"
            " tests compare each item's mean."
        )
    return notes
