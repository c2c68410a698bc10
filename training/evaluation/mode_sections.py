"""Sections of the page: how the mode was chosen, how sure the model was, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from training.evaluation import plots
from training.evaluation.plots import percent
from training.evaluation.report import Report
from training.evaluation.tables import (
    WAYS,
    folded,
    number,
    plain_words,
    points,
    ranged,
    section,
    table,
    way,
    words,
)


def choice(report: Report) -> Iterator[str]:
    if not report.asked.has_modes:
        return
    pictures = "".join(plots.histogram(one) for one in report.histograms if any(one.counts))
    agreement = [
        [
            way(row),
            words(row.label.part),
            number(percent(row.estimate)),
            number(f"{row.estimate.answers:,}"),
        ]
        for row in report.rows
        if row.label.measure == "agreement"
    ]
    rates = [
        [way(row), words(row.label.part), number(percent(row.estimate))]
        for row in report.rows
        if row.label.measure == "personalized_rate"
    ]
    yield from section(
        "The choice of mode",
        "Facts belong to general mode. A personal question belongs to personalised mode under its"
        " own persona, and to general mode without any.",
        f'<div class="row">{pictures}</div>' if pictures else "",
        table(["In the mode that was expected", "items", "share", "answers"], agreement),
        folded("Rate of personalised mode", table(["Way", "kind, persona", "share"], rates)),
    )


def reliability(report: Report) -> Iterator[str]:
    figures = []
    for name, found in report.reliability.items():
        error = found.error
        said = (
            f"{WAYS.get(name, name)}. Expected calibration error {error.value:.3f}"
            f" ({error.low:.3f} to {error.high:.3f}),"
            f" Brier score {ranged(report.find('brier', name, 'all'), 3)};"
            f" {error.answers:,} answers{_without(report, name)}."
        )
        caption = f"<figcaption>{escape(said[0].upper() + said[1:])}</figcaption>"
        figures.append(f"<figure>{plots.diagram(found)}{caption}</figure>")
    yield from section(
        "Is the probability one",
        "Of the answers given a probability of 0.8, eight in ten should have asked for"
        " personalised mode: dots on the diagonal.",
        f'<div class="row">{"".join(figures)}</div>' if figures else "",
    )


def _without(report: Report, way: str) -> str:
    row = report.find("without_probability", way, "all")
    return (
        f"; {percent(row.estimate)} of all came without one" if row and row.estimate.value else ""
    )


def regret(report: Report) -> Iterator[str]:
    reading = report.headline.reading
    found = [
        row for row in report.rows if row.label.measure == "regret" and row.label.reading == reading
    ]
    first = [row for row in found if row.label.way == found[0].label.way]
    dots = [(plain_words(row.label.part), row.estimate) for row in first]
    rows = [
        [way(row), words(row.label.part), number(points(row)), number(percent(oracle.estimate))]
        for row in found
        if (oracle := report.find("oracle_accuracy", row.label.way, row.label.part, reading))
    ]
    yield from section(
        "Regret",
        "What the choice of mode cost: the better forced mode's accuracy minus that of the mode"
        " taken. The oracle always takes the better one.",
        plots.intervals(dots, "Regret") if dots else "",
        table(["Regret", "items, persona", "points", "oracle's accuracy"], rows),
    )


def soundness(report: Report) -> Iterator[str]:
    failures = [[escape(name), number(f"{count:,}")] for name, count in report.failures.items()]
    sound = []
    for name in WAYS:
        valid = report.find("valid_format", name, "all")
        failed = report.find("failed", name, "all")
        if failed:
            shares = [number(percent(row.estimate) if row else "") for row in (valid, failed)]
            sound.append([WAYS[name], *shares])
    cost = [
        [
            way(row),
            words(row.label.part),
            number(ranged(row)),
            number(ranged(report.find("tokens", row.label.way, row.label.part), 1)),
            number(f"{row.estimate.answers:,}"),
        ]
        for row in report.rows
        if row.label.measure == "latency"
    ]
    spread = [
        [WAYS.get(name, name), *(number(f"{seconds:.2f}") for seconds in ranks.values())]
        for name, ranks in report.latency_percentiles_s.items()
    ]
    yield from section(
        "Soundness and cost",
        "Seconds are those of the whole answer, at the concurrency of this run.",
        table(["What failed", "answers"], failures),
        table(["Way", "valid format", "failed"], sound),
        table(["Cost of an answer", "mode", "seconds", "tokens", "answers"], cost),
        table(["Seconds that this share stays under", "50%", "90%", "99%"], spread),
    )
