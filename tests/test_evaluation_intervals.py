"""Intervals and tests, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.intervals import Bootstrap, Estimate, Share, estimate, sign_test, wilson


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


@pytest.mark.parametrize(
    ("share", "count", "ends"),
    [(1.0, 10, (0.7225, 1.0)), (0.0, 10, (0.0, 0.2775)), (0.5, 40, (0.352, 0.648))],
)
def test_wilsons_interval(share: float, count: float, ends: tuple[float, float]) -> None:
    """None of 10: from 0 to z^2 / (10 + z^2) = 0.2775."""
    assert wilson(share, count) == pytest.approx(ends, abs=1e-4)


def changed(won: int, lost: int, items: int = 101, both: int = 60) -> Estimate:
    """Of so many items: right the first time alone, and the second time alone."""
    ones = np.ones(items)
    first = np.array([1.0] * (both + won) + [0.0] * (items - both - won))
    second = np.array(
        [1.0] * both + [0.0] * won + [1.0] * lost + [0.0] * (items - both - won - lost)
    )
    found = estimate([(1, Share(first, ones)), (-1, Share(second, ones))], Bootstrap(range(items)))
    assert found is not None
    return found


def test_what_was_seen_on_one_side_alone_is_no_proof() -> None:
    """4 of 101 against none: Wilson has 1.55 to 9.74 of 100 and 0 to 3.66, together -0.42 to 9.74:
    sqrt((3.96 - 1.55)^2 + 3.66^2) = 4.38 below 3.96. The exact test has p = 1/8."""
    found = changed(4, 0)
    assert (found.value, found.low) == pytest.approx((4 / 101, -0.0042), abs=5e-4)
    assert found.high == pytest.approx(0.0974, abs=5e-4)
    mirrored = changed(0, 4)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert changed(0, 0).high == pytest.approx(0.0366, abs=1e-4)
    assert changed(6, 0).low > 0
    assert changed(12, 12).high == pytest.approx(1.96 * np.sqrt(24) / 101, abs=0.005)


def test_the_more_was_seen_the_higher_both_ends() -> None:
    """None of 101, one, two, ... all; one has 5.4 of 100 for its upper end."""
    bootstrap, ones = Bootstrap(range(101)), np.ones(101)
    found = [
        estimate([(1, Share((np.arange(101) < count) * 1.0, ones))], bootstrap)
        for count in range(102)
    ]
    ends = np.array([(one.low, one.high) for one in found if one is not None])
    assert (np.diff(ends, axis=0) >= 0).all()
    assert ends[1, 1] == pytest.approx(0.0540, abs=1e-3)


@pytest.mark.parametrize("rate", [0.04, 0.3])
def test_nineteen_intervals_in_twenty_hold_the_truth(rate: float) -> None:
    """Of 100 items with a rare change, and with a usual one, drawn 300 times."""
    rng, bootstrap, ones = np.random.default_rng(7), Bootstrap(range(100)), np.ones(100)
    held = [0, 0]
    for _ in range(300):
        hits = (rng.random(100) < rate) * 1.0
        lost = (rng.random(100) < rate / 8) * (1.0 - hits)
        share = estimate([(1, Share(hits, ones))], bootstrap)
        gap = estimate([(1, Share(hits, ones)), (-1, Share(lost, ones))], bootstrap)
        assert share is not None
        assert gap is not None
        held[0] += share.low <= rate <= share.high
        held[1] += gap.low <= rate - rate / 8 * (1 - rate) <= gap.high
    assert min(held) >= 0.93 * 300


def test_a_value_without_spread_has_an_interval() -> None:
    """Each of 40 items right in one of two answers says little of the next 40."""
    found = estimate([(1, Share(np.ones(40), np.full(40, 2.0)))], Bootstrap(range(40)))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.352, 0.648), abs=1e-3)


def test_a_share_may_count_below_nothing() -> None:
    """Two answers of ten at -1: as far from 0 as two at 1."""
    hits = np.array([-1.0] * 2 + [0.0] * 8)
    below = estimate([(1, Share(hits, np.ones(10), least=-1.0))], Bootstrap(range(10)))
    above = estimate([(1, Share(-hits, np.ones(10), least=-1.0))], Bootstrap(range(10)))
    assert below is not None
    assert above is not None
    assert (below.low, below.high) == pytest.approx((-above.high, -above.low))
    assert below.low < below.value == -0.2 < below.high


def test_an_interval_does_not_leave_what_its_terms_allow() -> None:
    """3 of 3 against 0 of 3: a difference of 1, and none is larger. Wilson has 0.4385 at least for
    three of three, so the difference is 1 - sqrt(2) * 0.5615 at least."""
    all_right, none_right = Share(np.ones(3), np.ones(3)), Share(np.zeros(3), np.ones(3))
    found = estimate([(1, all_right), (-1, none_right)], Bootstrap(range(3)))
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1.0 - 2**0.5 * 0.5615, abs=1e-4)
    turned = estimate([(1, none_right), (-1, all_right)], Bootstrap(range(3)))
    assert turned is not None
    assert (turned.value, turned.low) == (-1.0, -1.0)
