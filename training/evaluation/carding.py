"""What of a report goes into the checkpoint's card: the headline figures with their intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from model.card import FILE_NAME, Card, save_card
from training.cards import card_of
from training.evaluation.report import Report, load_report
from training.items import DataInvalid

KEPT = {
    "interference": ("interference", "objective"),
    "benefit": ("benefit", "personalized"),
    "accuracy_no_persona": ("accuracy", "none"),
    "accuracy_aligned": ("accuracy", "aligned"),
    "accuracy_unaligned": ("accuracy", "unaligned"),
    "accuracy_injected": ("accuracy", "injected"),
    "adoption": ("adoption", "objective"),
    "negative_flips": ("negative_flips", "unaligned"),
    "personalized_accuracy": ("personalized_accuracy", "aligned"),
    "mode_agreement": ("agreement", "all"),
    "regret": ("regret", "all"),
    "swap_invariance": ("swap_invariance", "objective"),
}
"""Names in the card: measure and part of the report, of the model's own choice."""


def write_card(run: Path, checkpoint: Path) -> Card:
    """Write the figures of a run into the card of the checkpoint that it asked.

    Each is `[value, low, high]`, 0 to 1, the ends of its 95 % interval; one that the run has not
    measured is left out.

    Raises:
        DataInvalid: the run has no report, or an unreadable one, or is not over, or asked another
            model: an engine of ours serves a checkpoint by its folder's name. Or the card cannot be
            written.
        CardInvalid: the checkpoint's card is malformed.
    """
    report = load_report(run)
    name = checkpoint.resolve().name
    if report.asked.model != name:
        raise DataInvalid(f"{run} asked the model {report.asked.model}, and this one is {name}")
    if report.answered < report.expected:
        raise DataInvalid(
            f"{run} asked {report.answered} of {report.expected} questions so far: the evaluate"
            " command that began it goes on with the others"
        )
    found = replace(card_of(checkpoint), evaluation=_figures(report))
    try:
        save_card(found, checkpoint)
    except OSError as error:
        path = checkpoint / FILE_NAME
        raise DataInvalid(f"{path} cannot be written: {error.strerror}") from error
    return found


def _figures(report: Report) -> dict[str, Any]:
    way, reading = report.headline.way, report.headline.reading
    figures: dict[str, list[float]] = {}
    for name, (measure, part) in KEPT.items():
        row = report.find(measure, way, part, reading) or report.find(measure, way, part)
        if row is not None:
            figures[name] = _rounded(row.estimate.value, row.estimate.low, row.estimate.high)
    if way in report.reliability:
        error = report.reliability[way].error
        figures["calibration_error"] = _rounded(error.value, error.low, error.high)
    return {
        "suite": Path(report.asked.suite).name,
        "items": sum(report.items.values()),
        "way": way,
        "reading": reading,
        "made": dict(report.made),
        "figures": figures,
    }


def _rounded(*values: float) -> list[float]:
    return [round(value, 6) for value in values]
