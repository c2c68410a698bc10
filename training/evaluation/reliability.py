"""Reliability: how often personalised mode was right, where the model gave it a probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.calibrate import BINS, expected_calibration_error
from training.evaluation.choice import scored
from training.evaluation.intervals import LEVEL, Array, Bootstrap, Estimate, Share, estimate
from training.evaluation.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar probability: its mean, and the frequency with its interval."""

    probability: float
    frequency: Estimate


@dataclass(frozen=True, slots=True)
class Reliability:
    """The diagram of one way of asking, and the expected calibration error."""

    bins: list[Bin]
    error: Estimate


def reliability(sheet: Sheet, way: str, bootstrap: Bootstrap) -> Reliability | None:
    """None where no answer came with a probability."""
    found = scored(sheet, way)
    if not found:
        return None
    parts: list[list[tuple[str, float, bool]]] = [[] for _ in range(BINS)]
    for entry in found:
        parts[min(int(entry[1] * BINS), BINS - 1)].append(entry)
    bins = []
    for part in parts:
        share = sheet.share((item, float(is_true)) for item, _, is_true in part)
        frequency = estimate([(1, share)], bootstrap)
        if frequency is not None:
            bins.append(Bin(sum(p for _, p, _ in part) / len(part), frequency))
    value = expected_calibration_error([p for _, p, _ in found], [flag for _, _, flag in found])
    gaps = [sheet.share((item, p - is_true) for item, p, is_true in part) for part in parts]
    return Reliability(bins, _error(value, gaps, bootstrap))


def _error(value: float, gaps: list[Share], bootstrap: Bootstrap) -> Estimate:
    """The interval of a sum of absolute values, moved back by what drawing adds to such a sum."""
    of: Array = np.stack([gap.of for gap in gaps]).sum(axis=0)
    sums = bootstrap.sums(np.stack([*(gap.hits for gap in gaps), of], axis=1))
    sums = sums[sums[:, -1] > 0]
    drawn = np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]
    outside = (1.0 - LEVEL) / 2 * 100
    low, high = np.percentile(drawn, [outside, 100.0 - outside]) - (drawn.mean() - value)
    return Estimate(
        value,
        max(0.0, min(float(low), value)),
        min(1.0, max(float(high), value)),
        int((of > 0).sum()),
        int(of.sum()),
    )
