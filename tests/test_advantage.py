"""The advantage of DualGRPO: hand-derived numbers, and what holds for any rewards in any order."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.advantage import Variant, dual_advantage, group_stats

NAN = math.nan
VARIANTS: list[Variant] = ["paper", "sample_gap", "plain"]
Rows = tuple[Tensor, Tensor, Tensor]


def rows(general: list[float], personalized: list[float], group: int = 0) -> Rows:
    """Rewards, modes and ids of one group, general rows first."""
    rewards = torch.tensor(general + personalized, dtype=torch.float64)
    modes = torch.tensor([False] * len(general) + [True] * len(personalized), dtype=torch.bool)
    return rewards, modes, torch.full((len(rewards),), group)


def joined(*groups: Rows) -> Rows:
    rewards, modes, ids = (torch.cat(parts) for parts in zip(*groups, strict=True))
    return rewards, modes, ids


def close(found: Tensor, expected: list[float]) -> None:
    wanted = torch.tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


EXAMPLE = rows([1, 1, 0, 1], [0, 0, 1, 0])

rewards_of = st.floats(-2, 2, width=32) | st.sampled_from([0.0, 0.1, 0.9, 1.0])
some_rewards = st.lists(rewards_of | st.just(NAN), max_size=5)


@st.composite
def batches(draw: st.DrawFn) -> Rows:
    """One to four groups, unequal halves, missing modes and NaN included, in any order."""
    halves = draw(st.lists(st.tuples(some_rewards, some_rewards), min_size=1, max_size=4))
    whole = joined(*(rows(g, p, 7 * place) for place, (g, p) in enumerate(halves)))
    order = draw(st.permutations(range(len(whole[0]))))
    shuffled = tuple(part[list(order)] for part in whole)
    return shuffled[0], shuffled[1], shuffled[2]


@st.composite
def balanced(draw: st.DrawFn) -> Rows:
    """One to three groups with equal halves of known rewards."""
    half = draw(st.integers(1, 4))
    rewards = st.lists(rewards_of, min_size=half, max_size=half)
    halves = draw(st.lists(st.tuples(rewards, rewards), min_size=1, max_size=3))
    return joined(*(rows(g, p, place) for place, (g, p) in enumerate(halves)))


def test_the_example_of_the_paper() -> None:
    """mu_general = 3/4 and mu_personalized = 1/4, so inter is +1/2 and -1/2; they sum to 0."""
    found = dual_advantage(*EXAMPLE)
    close(found.intra, [0.25, 0.25, -0.75, 0.25, -0.25, -0.25, 0.75, -0.25])
    close(found.inter, [0.5] * 4 + [-0.5] * 4)
    close(found.total, [0.75, 0.75, -0.25, 0.75, -0.75, -0.75, 0.25, -0.75])
    assert found.total.sum() == 0


def test_the_same_example_under_the_other_variants() -> None:
    """The group's mean is 1/2: plain is r - 1/2, the released code's formula twice that."""
    plain = [0.5, 0.5, -0.5, 0.5, -0.5, -0.5, 0.5, -0.5]
    close(dual_advantage(*EXAMPLE, "plain").total, plain)
    close(dual_advantage(*EXAMPLE, "plain").inter, [0.0] * 8)
    found = dual_advantage(*EXAMPLE, "sample_gap")
    close(found.total, [2 * one for one in plain])
    # a = r - 1/2 has the means 1/4 and -1/4; inter is a_i - mean_other.
    close(found.inter, [0.75, 0.75, -0.25, 0.75, -0.75, -0.75, 0.25, -0.75])


def test_unequal_halves_are_measured_against_the_other_mode() -> None:
    """mu_general = 1/2 of two rows, mu_personalized = 1 of one: the totals sum to -1/2."""
    batch = rows([1, 0], [1])
    close(dual_advantage(*batch).total, [0.0, -1.0, 0.5])
    # sample_gap: 2r - mu_own - mu_other = 2r - 3/2, no longer twice r - 2/3.
    close(dual_advantage(*batch, "sample_gap").total, [0.5, -1.5, 0.5])
    close(dual_advantage(*batch, "plain").total, [1 / 3, -2 / 3, 1 / 3])


def test_a_group_whose_modes_each_agree_still_trains_the_decision() -> None:
    """No variance in either mode, but a gap of 1: not a group to skip. All equal is."""
    close(dual_advantage(*rows([1, 1], [0, 0])).total, [1, 1, -1, -1])
    close(dual_advantage(*rows([1, 1], [1, 1])).total, [0, 0, 0, 0])


def test_no_standard_deviation_anywhere() -> None:
    """Ten times the rewards, ten times the advantages: a scaled one would not move."""
    for variant in VARIANTS:
        once = dual_advantage(*EXAMPLE, variant).total
        close(dual_advantage(10 * EXAMPLE[0], *EXAMPLE[1:], variant).total, (10 * once).tolist())


def test_unknown_rewards_are_left_out_of_the_means() -> None:
    """mu_general = 1/2 over two known rewards; as a zero the third would make it 1/3."""
    close(dual_advantage(*rows([1, NAN, 0], [1, NAN])).total, [0.0, 0.0, -1.0, 0.5, 0.0])
    close(dual_advantage(*rows([NAN, NAN], [NAN])).total, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("other", [[], [NAN, NAN]])
def test_one_mode_alone_has_no_gap(variant: Variant, other: list[float]) -> None:
    """Whether the other mode is absent or unknown, total is r - mu_own."""
    found = dual_advantage(*rows([1, 0, 0.5], other), variant)
    close(found.total, [0.5, -0.5, 0.0] + [0.0] * len(other))
    close(found.inter, [0.0] * (3 + len(other)))


def test_groups_and_modes_are_not_read_from_places() -> None:
    """Two groups, interleaved and with the modes mixed, as trainers leave rows."""
    rewards = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.5, 1.0])
    modes = torch.tensor([True, False, True, False, True, False])
    ids = torch.tensor([42, 9, 9, 42, 42, 9])
    # Group 42: general 0, personalised 0 and .5. Group 9: general 1 and 1, personalised 1.
    close(dual_advantage(rewards, modes, ids).total, [0.0, 0.0, 0.0, -0.25, 0.5, 0.0])


@given(balanced())
def test_equal_halves_sum_to_zero(batch: Rows) -> None:
    """In every group, for every variant."""
    for variant in VARIANTS:
        total = dual_advantage(*batch, variant).total
        for group in batch[2].unique():
            assert total[batch[2] == group].sum().item() == pytest.approx(0, abs=1e-9)


@given(balanced())
def test_the_released_formula_is_twice_plain_with_equal_halves(batch: Rows) -> None:
    twice = 2 * dual_advantage(*batch, "plain").total
    close(dual_advantage(*batch, "sample_gap").total, twice.tolist())


@given(batches())
def test_any_batch_by_the_formula_row_by_row(batch: Rows) -> None:
    """Against plain Python: total = r - mu_other, or r - mu_own, or 0."""
    rewards, modes, ids = (part.tolist() for part in batch)
    expected = []
    for reward, mode, group in zip(rewards, modes, ids, strict=True):
        means = {}
        for which in (mode, not mode):
            known = [
                r
                for r, m, g in zip(rewards, modes, ids, strict=True)
                if m is which and g == group and not math.isnan(r)
            ]
            if known:
                means[which] = sum(known) / len(known)
        expected.append(0.0 if math.isnan(reward) else reward - means.get(not mode, means[mode]))
    found = dual_advantage(*batch)
    close(found.total, expected)
    close(found.intra + found.inter, expected)


@given(batches(), st.randoms(use_true_random=False))
def test_permuting_rows_permutes_results(batch: Rows, random: Any) -> None:
    order = list(range(len(batch[0])))
    random.shuffle(order)
    for variant in VARIANTS:
        before = dual_advantage(*batch, variant)
        after = dual_advantage(*(part[order] for part in batch), variant)
        close(after.total, before.total[order].tolist())
        close(after.inter, before.inter[order].tolist())


def test_half_precision_and_whole_rewards_are_averaged_in_single() -> None:
    """In bfloat16 the mean of 1, 1, 1 and 0.99 rounds to 1, and the gap is lost."""
    rewards = torch.tensor([1.0, 1.0, 1.0, 0.98, 1.0], dtype=torch.bfloat16)
    modes = torch.tensor([False] * 4 + [True])
    found = dual_advantage(rewards, modes, torch.zeros(5, dtype=torch.long))
    assert found.inter.dtype is torch.float32
    assert found.inter[4].item() == pytest.approx((1 - rewards[3].item()) / 4)
    whole = dual_advantage(torch.tensor([1, 0]), torch.tensor([False, True]), torch.zeros(2))
    close(whole.total, [1.0, -1.0])


def test_what_cannot_be_meant_is_refused() -> None:
    rewards, modes, ids = EXAMPLE
    with pytest.raises(ValueError, match="one shape"):
        dual_advantage(rewards[:3], modes, ids)
    with pytest.raises(ValueError, match="one shape"):
        dual_advantage(rewards[:, None], modes[:, None], ids[:, None])
    with pytest.raises(ValueError, match="infinite"):
        dual_advantage(rewards / 0, modes, ids)
    with pytest.raises(ValueError, match="variant must be one of paper"):
        dual_advantage(rewards, modes, ids, "mean_gap")  # type: ignore[arg-type]


def test_statistics_of_groups() -> None:
    """Four groups that tell four things, a fifth with one mode, a sixth without rewards."""
    batch = joined(
        rows([1, 0], [1, 0], 0),  # no gap, but a variance
        rows([1, 1], [0, 0], 1),  # a gap of -1, no variance
        rows([0.1, 0.1], [0.1, 0.1], 2),  # all equal
        rows([0, 0], [1, 0], 3),  # a gap of 1/2
        rows([1, 0], [NAN], 4),
        rows([NAN], [NAN], 5),
    )
    found = group_stats(*batch)
    # General: 1+0+1+1+.1+.1+0+0+1+0 over 10; personalised: 1+0+0+0+.1+.1+1+0 over 8.
    assert found.reward_general == pytest.approx(0.42)
    assert found.reward_personalized == pytest.approx(0.275)
    assert found.gap == pytest.approx((0 - 1 + 0 + 0.5) / 4)
    assert found.zero_intra == pytest.approx(2 / 5)
    assert found.zero_gap == pytest.approx(2 / 4)
    assert found.all_equal == pytest.approx(1 / 5)


def test_statistics_of_nothing_are_unknown() -> None:
    found = group_stats(*rows([NAN], [NAN]))
    assert math.isnan(found.reward_general)
    assert math.isnan(found.gap)
    assert math.isnan(found.all_equal)


def test_equal_means_by_other_sums_are_no_gap() -> None:
    """0.3 + 0.1 + 1 rounds differently in another order: a gap of 3e-8 that nobody earned."""
    rewards = torch.tensor([0.3, 0.1, 1.0, 1.0, 0.1, 0.3])
    modes = torch.tensor([False] * 3 + [True] * 3)
    assert group_stats(rewards, modes, torch.zeros(6, dtype=torch.long)).zero_gap == 1.0


@given(batches())
def test_a_group_trains_nothing_only_if_all_its_rewards_are_equal(batch: Rows) -> None:
    """The share of equal groups is that of groups without any advantage (modes both there)."""
    found = group_stats(*batch)
    total = dual_advantage(*batch).total
    groups = [
        (batch[0][rows], total[rows])
        for rows in (batch[2] == group for group in batch[2].unique())
        if not batch[0][rows].isnan().all()
    ]
    idle = [total.abs().max().item() < 1e-12 for _, total in groups]
    equal = [len(rewards[~rewards.isnan()].unique()) == 1 for rewards, _ in groups]
    for is_idle, is_equal in zip(idle, equal, strict=True):
        assert is_idle or not is_equal
    if groups:
        assert found.all_equal == pytest.approx(sum(equal) / len(groups))
