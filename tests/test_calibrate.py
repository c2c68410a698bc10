"""The fit of the calibration, and the error it is judged by."""

from __future__ import annotations

import math
import random

import pytest

from model.decision import sigmoid
from training.calibrate import MIN_SLOPE, expected_calibration_error, fit


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -1.0), (2.5, 0.7)])
def test_a_planted_curve_is_found(slope: float, intercept: float) -> None:
    rng = random.Random(7)
    scores = [rng.uniform(-6, 6) for _ in range(20_000)]
    flags = [rng.random() < sigmoid(slope * score + intercept) for score in scores]
    found = fit(scores, flags)
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.intercept == pytest.approx(intercept, abs=0.1)
    fitted = [found.probability(score) for score in scores]
    raw = [sigmoid(3 * score) for score in scores]
    assert expected_calibration_error(fitted, flags) < 0.015
    assert expected_calibration_error(raw, flags) > 0.03 or slope > 2


def test_modes_that_part_without_an_error_have_a_finite_slope() -> None:
    """And by Platt's targets: 2 of 3 examples stand for 3 of 4 in place of certainty."""
    found = fit([-2.0, -2.0, 2.0, 2.0], [False, False, True, True])
    assert found.probability(2) == pytest.approx(0.75, abs=1e-4)
    assert math.isfinite(found.slope)


def test_scores_that_say_the_opposite_never_turn_the_gate_round() -> None:
    assert fit([-1.0, 1.0, -1.0, 1.0], [True, False, True, False]).slope > 0


@pytest.mark.parametrize(("mean", "share"), [(5.0, 0.0), (-40.0, 1.5), (0.0, -1.0)])
def test_scores_that_say_nothing_leave_the_base_rate(mean: float, share: float) -> None:
    """Wherever the scores lie: the intercept is that of the slope that is kept, and no other's."""
    rng = random.Random(3)
    scores = [rng.gauss(mean, 1) for _ in range(4_000)]
    flags = [rng.random() < sigmoid(share - 0.8 * (score - mean)) for score in scores]
    found = fit(scores, flags)
    assert found.slope == MIN_SLOPE
    probabilities = [found.probability(score) for score in scores]
    assert sum(probabilities) / 4_000 == pytest.approx(sum(flags) / 4_000, abs=1e-3)
    assert max(probabilities) - min(probabilities) < 0.01


@pytest.mark.parametrize(
    ("scores", "flags"), [([1.0], [True]), ([], []), ([math.nan, 1.0], [True, False])]
)
def test_what_cannot_be_fitted_is_refused(scores: list[float], flags: list[bool]) -> None:
    with pytest.raises(ValueError, match=r"both modes|not finite"):
        fit(scores, flags)


def test_the_error_by_hand() -> None:
    """Two bins: (0.2, 0.2; none true) is 0.2 off, (0.9, 0.9; one true) 0.4 off."""
    error = expected_calibration_error([0.2, 0.2, 0.9, 0.9], [False, False, True, False])
    assert error == pytest.approx(0.3)
    assert expected_calibration_error([1.0], [True]) == 0.0
