"""Picture: what runs got right under each persona, as bars with intervals, in one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.mode import Isolation
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Estimate
from training.evaluation.report import Report
from training.items import DataInvalid

GROUPS = {
    "facts,\nno persona": ("accuracy", Shown.NONE),
    "facts,\nfitting persona": ("accuracy", Shown.ALIGNED),
    "facts,\nunrelated persona": ("accuracy", Shown.UNALIGNED),
    "personal questions,\ntheir own persona": ("personalized_accuracy", Shown.ALIGNED),
}
COLOURS = ("#b9b4a8", "#35577d", "#c98a3a", "#7c6a9c", "#8aa9c4", "#2d7144")
KINDS = (".png", ".svg")


def draw(reports: Sequence[Report], path: Path) -> None:
    """Write the picture; an endpoint with modes has a bar for each isolation that was asked.

    Raises:
        DataInvalid: `path` is no picture's name, or it cannot be written.
    """
    if path.suffix not in KINDS:
        raise DataInvalid(f"{path}: a picture's name ends in one of {', '.join(KINDS)}")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.9), layout="constrained")
    axes = figure.subplots()
    series = [(name, found) for report in reports for name, found in _series(report)]
    wide = 0.8 / max(len(series), 1)
    for number, (name, found) in enumerate(series):
        for group, estimate in found.items():
            x = group + (number - (len(series) - 1) / 2) * wide
            value = 100 * estimate.value
            ends = [[value - 100 * estimate.low], [100 * estimate.high - value]]
            axes.bar(
                x,
                value,
                wide * 0.9,
                color=COLOURS[number % len(COLOURS)],
                label=name if group == min(found) else None,
                yerr=ends,
                error_kw={"elinewidth": 1, "capsize": 2.5, "ecolor": "#55524c"},
            )
            axes.text(x, 100 * estimate.high + 1.5, f"{value:.0f}", ha="center", fontsize=8)
    axes.set_xticks(range(len(GROUPS)), list(GROUPS))
    axes.set(ylim=(0, 108), ylabel="right answers, %")
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(series), frameon=False, fontsize=9)
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise DataInvalid(f"{path} cannot be written: {error.strerror}") from error


def _series(report: Report) -> list[tuple[str, dict[int, Estimate]]]:
    """A name and an estimate per group, for each way in which the model chose by itself."""
    asked, reading = report.asked, report.headline.reading
    found = []
    for isolation in asked.plan.isolations if asked.has_modes else (Isolation.SHARED,):
        estimates = {}
        for place, (measure, shown) in enumerate(GROUPS.values()):
            row = report.find(measure, f"auto/{isolation}", shown, reading)
            # Without a persona there is nothing to isolate: that is asked in one way only.
            row = row or report.find(measure, report.headline.way, shown, reading)
            if row is not None:
                estimates[place] = row.estimate
        name = f"{asked.model}, {isolation}" if asked.has_modes else f"{asked.model}, no modes"
        found.append((name, estimates))
    return found
