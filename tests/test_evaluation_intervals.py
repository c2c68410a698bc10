"""Intervals and tests, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.intervals import Bootstrap, Share, estimate, no_spread, sign_test


def test_the_exact_test() -> None:
    """1 for and 9 against: 2 * (C(10,0) + C(10,1)) / 2**10 = 22 / 1024; ties say nothing."""
    ones = np.ones(14)
    first = Share(np.array([1.0] * 1 + [0.0] * 9 + [1.0] * 4), ones)
    second = Share(np.array([0.0] * 1 + [1.0] * 9 + [1.0] * 4), ones)
    apart = np.arange(14)
    found = sign_test(first, second, apart)
    assert (found.better, found.worse) == (1, 9)
    assert found.p_value == pytest.approx(22 / 1024)
    assert sign_test(first, first, apart).p_value == 1.0
    # One for and nine against in a group: it counts once, by what they come to.
    together = sign_test(first, second, np.array([0] * 10 + [1, 2, 3, 4]))
    assert (together.better, together.worse) == (0, 1)


def test_items_that_ask_for_one_thing_are_drawn_together() -> None:
    """Twenty things, each asked five times, seven known: 0.35 +- 1.96 * sqrt(0.35 * 0.65 / 20), as
    from twenty questions and not as from a hundred."""
    known = np.repeat([1.0] * 7 + [0.0] * 13, 5)
    groups = np.repeat(range(20), 5).tolist()
    found = estimate([(1, Share(known, np.ones(100)))], Bootstrap(groups))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.141, 0.559), abs=0.03)
    assert (found.items, found.value) == (100, 0.35)


def test_the_bootstrap_meets_the_normal_interval() -> None:
    """40 of 100 right: 0.4 +- 1.96 * sqrt(0.4 * 0.6 / 100) = 0.304 to 0.496."""
    share = Share(np.array([1.0] * 40 + [0.0] * 60), np.ones(100))
    found = estimate([(1, share)], Bootstrap(range(100)))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.304, 0.496), abs=0.015)
    again = estimate([(1, share)], Bootstrap(range(100)))
    assert again == found


def test_weights_that_are_not_kept_are_the_same() -> None:
    """Above the limit of memory the draws are made anew each time."""
    columns = np.random.default_rng(1).random((50, 2))
    kept, drawn = Bootstrap(range(50)), Bootstrap(range(50))
    drawn._kept = None
    assert np.array_equal(kept.sums(columns), drawn.sums(columns))
    assert kept.sums(np.ones((50, 1))).tolist() == [[50.0]] * 2_000


def test_a_value_without_spread_has_an_interval() -> None:
    """10 of 10 right: the lower end is 0.025 ** (1/10) = 0.692 (Clopper-Pearson)."""
    found = estimate([(1, Share(np.ones(10), np.ones(10)))], Bootstrap(range(10)))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert no_spread(10) == pytest.approx(0.3085, abs=1e-4)


def test_an_interval_does_not_leave_what_its_terms_allow() -> None:
    """3 of 3 against 0 of 3: a difference of 1, and none is larger."""
    all_right, none_right = Share(np.ones(3), np.ones(3)), Share(np.zeros(3), np.ones(3))
    found = estimate([(1, all_right), (-1, none_right)], Bootstrap(range(3)))
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1.0 - no_spread(3))
    turned = estimate([(1, none_right), (-1, all_right)], Bootstrap(range(3)))
    assert turned is not None
    assert (turned.value, turned.low) == (-1.0, -1.0)
