"""Sections of the page: what was right, and what a persona changed."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from training.evaluation import plots
from training.evaluation.conditions import Shown
from training.evaluation.plots import Series, percent, signed
from training.evaluation.report import Report, Row
from training.evaluation.tables import (
    PERSONAS,
    WAYS,
    folded,
    number,
    p_value,
    section,
    table,
    way,
    words,
)
from training.evaluation.worst import Worst
from training.items import Kind

MAX_SHOWN = 400
"""Characters of an answer that the page shows."""
TITLES = {
    "interference": "Interference: no persona minus an unrelated one",
    "benefit": "Benefit: the fitting persona minus none",
    "injection": "Injection: no persona minus one with orders and a false claim",
    "adoption": "Adoption: that false claim answered, minus without a persona",
    "isolation_gain": "Strict isolation minus shared",
}


def correctness(report: Report) -> Iterator[str]:
    yield from _of_kind(
        report,
        "accuracy",
        Kind.OBJECTIVE,
        "Facts",
        "Questions whose answer is the same whoever asks.",
    )
    yield from _of_kind(
        report,
        "personalized_accuracy",
        Kind.PERSONALIZED,
        "What a persona decides",
        "Questions whose answer follows from the persona: only the fitting one can give it.",
    )


def _of_kind(report: Report, measure: str, kind: Kind, title: str, about: str) -> Iterator[str]:
    reading = report.headline.reading
    shown = [
        condition
        for condition in Shown
        if any(report.find(measure, name, condition, reading) for name in WAYS)
    ]
    series = []
    for name, said in WAYS.items():
        rows = [report.find(measure, name, condition, reading) for condition in shown]
        if any(rows):
            series.append(Series(said, [row.estimate if row else None for row in rows]))
    groups = [PERSONAS[condition] for condition in shown]
    picture = plots.bars(groups, series) if shown else ""
    tables = _differences(report, kind), _flips(report, kind), _readings(report, measure)
    yield from section(title, about, picture, *tables)


def _differences(report: Report, kind: Kind) -> str:
    rows = [
        [
            f"{TITLES[row.label.measure]}<br><em>{way(row)}{_beside(row)}</em>",
            number(signed(row.estimate.value)),
            number(f"{signed(row.estimate.low)} to {signed(row.estimate.high)}"),
            number(f"{row.test.better} : {row.test.worse}" if row.test else ""),
            number(p_value(row.test)),
            number(f"{row.estimate.items:,}"),
        ]
        for row in sorted(report.rows, key=_order)
        if row.label.reading == report.headline.reading and _belongs(row, kind)
    ]
    heads = ["Difference in accuracy", "points", "95%", "items for : against", "p", "items"]
    return table(heads, rows)


def _flips(report: Report, kind: Kind) -> str:
    """What the differences net: answers that a persona turned, in either direction."""
    rows = []
    for row in report.rows if kind is Kind.OBJECTIVE else ():
        label = row.label
        if (label.measure, label.reading) != ("negative_flips", report.headline.reading):
            continue
        won = report.find("positive_flips", label.way, label.part, label.reading)
        assert won is not None  # of the same answers
        cells = [number(percent(one.estimate)) for one in (row, won)]
        rows.append([f"{words(label.part)}<br><em>{way(row)}</em>", *cells])
    return table(["Turned by the", "right to wrong", "wrong to right"], rows)


def _belongs(row: Row, kind: Kind) -> bool:
    """An unrelated persona cannot decide a personal question: only benefit is shown there."""
    label = row.label
    if kind is Kind.PERSONALIZED:
        return label.measure == "benefit" and label.part == kind
    is_difference = label.measure in TITLES and label.part == kind
    return is_difference or label.measure == "isolation_gain"


def _order(row: Row) -> int:
    names = list(TITLES)
    return names.index(row.label.measure) if row.label.measure in names else len(names)


def _beside(row: Row) -> str:
    return f", {words(row.label.part)}" if row.label.measure == "isolation_gain" else ""


def _readings(report: Report, measure: str) -> str:
    """Both readings, where they differ."""
    rows = []
    for row in report.rows:
        label = row.label
        if (label.measure, label.reading) != (measure, "exact"):
            continue
        lenient = report.find(measure, label.way, label.part, "lenient")
        if lenient and lenient.estimate.value != row.estimate.value:
            said = f"{way(row)}, {words(label.part)}"
            rows.append([said, number(percent(row.estimate)), number(percent(lenient.estimate))])
    found = table(["Accuracy", "read exactly", "read leniently"], rows)
    return folded(f"Where the readings differ ({len(rows)})", found)


def swap(report: Report) -> Iterator[str]:
    names = {
        "swap_invariance": "General answers that stay",
        "swap_change": "Personalised answers that change",
    }
    rows = [
        [
            names[row.label.measure],
            way(row),
            words(row.label.part),
            number(percent(row.estimate)),
            number(f"{row.estimate.items:,}"),
        ]
        for row in report.rows
        if row.label.measure in names
    ]
    yield from section(
        "Another persona, the same question",
        "In general mode the answer should stay when the fitting persona is swapped for another's;"
        " in personalised mode it should change where the persona decides.",
        table(["Of the pairs in that mode", "way", "kind", "share", "items"], rows),
    )


def parity(report: Report) -> Iterator[str]:
    gaps = [
        [
            WAYS.get(gap.way, gap.way),
            gap.measure.replace("_", " "),
            escape(f"{gap.attribute}: {gap.top} over {gap.bottom}"),
            number(f"{100 * gap.value:.1f}"),
            number(f"{gap.p_value:.3f}"),
        ]
        for gap in report.gaps
    ]
    groups = [
        [way(row), name.replace("_", " "), escape(row.label.part), number(percent(row.estimate))]
        for row in report.rows
        if (name := row.label.measure.removeprefix("parity_")) != row.label.measure
    ]
    yield from section(
        "Parity",
        "Accuracy on facts and rate of personalised mode by what is known of a persona. The gap is"
        " between the values that lie furthest apart; p says how often chance alone would set some"
        " values so far apart.",
        table(["Widest gap", "in", "between", "points", "p"], gaps),
        folded("All groups", table(["Way", "in", "persona", "share"], groups)),
    )


def worst(report: Report) -> Iterator[str]:
    yield from section(
        f"The worst {len(report.worst)}",
        "First what an unrelated persona broke, then what was wrong most often.",
        "".join(map(_item, report.worst)),
    )


def _item(one: Worst) -> str:
    said = []
    for answer in one.said:
        mode = f" ({answer.mode})" if answer.mode else ""
        head = f"{PERSONAS[answer.condition]} \u00b7 {WAYS.get(answer.way, answer.way)}{mode}"
        text = answer.error or answer.text[:MAX_SHOWN] or "nothing"
        said.append(
            f'<div class="{"right" if answer.is_correct else "wrong"}">'
            f'<span class="way">{escape(head)}</span>{escape(text)}</div>'
        )
    below = f"{one.item}, {one.kind}; right: {' or '.join(one.accepted)}"
    asked = f"<p>{escape(one.question)}\n<em>{escape(below)}</em></p>"
    return f'<div class="item">{asked}<div class="said">{"".join(said)}</div></div>'
