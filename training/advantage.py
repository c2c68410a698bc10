"""Advantage: the maths of DualGRPO on plain tensors. No trainer, no tokenizer, no model.

N rollouts in any order; T completion tokens, the tag's among them. With `r` a reward and `mu` the
mean reward of a mode inside the group (paper, equations 6 to 8; no standard deviation anywhere):

    intra = r - mu_own        inter = mu_own - mu_other        total = r - mu_other

A row's mode and group are arguments, never read from its place: trainers re-order rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from training.credit import DualAdvantageConfig, PrefixKl, Variant, require

GAP_TOLERANCE = 1e-6
"""Means of equal rewards may differ by rounding; a smaller gap than this is none."""


@dataclass(frozen=True, slots=True)
class Advantage:
    """Advantages of N rollouts, each `(N,)` and finite; `total = intra + inter`."""

    total: Tensor
    intra: Tensor
    inter: Tensor


@dataclass(frozen=True, slots=True)
class GroupStats:
    """What the rewards of a batch look like; NaN where no group can tell.

    The mean rewards are over rows, the rest over groups. `gap` (personalised minus general) and
    `zero_gap` look at groups with both modes. `zero_intra` is the share in which no mode has two
    different rewards: it still trains the decision. Only groups of `all_equal` train nothing.
    """

    reward_general: float
    reward_personalized: float
    gap: float
    zero_intra: float
    zero_gap: float
    all_equal: float


def dual_advantage(
    rewards: Tensor, is_personalized: Tensor, group_ids: Tensor, variant: Variant = "paper"
) -> Advantage:
    """Advantages from rewards, modes (bool) and integer group ids, `(N,)` each.

    A NaN reward is an unknown one: the row has advantage 0 and no part in a mean. Where one mode
    alone has rewards in a group there is no gap: inter is 0, total is `r - mu_own`.
    `sample_gap` reads `a_i - mean_other` for inter, with `a` the reward less the group's mean.

    Raises:
        ValueError: unequal shapes, an unknown variant, or an infinite reward.
    """
    require("variant", variant, get_args(Variant))
    groups = _Groups(rewards, is_personalized, group_ids)
    known, values = groups.known, groups.values
    if variant == "plain":
        means, _ = groups.means(groups.group)
        intra, inter = values - means[groups.group], torch.zeros_like(values)
    else:
        means, has_rewards = groups.means(groups.own)
        own, other = means[groups.own], means[groups.other]
        # The group's mean falls out of both differences, so raw rewards will do.
        gap = (values if variant == "sample_gap" else own) - other
        intra, inter = values - own, torch.where(has_rewards[groups.other], gap, 0.0)
    intra, inter = torch.where(known, intra, 0.0), torch.where(known, inter, 0.0)
    return Advantage(intra + inter, intra, inter)


def expand_to_tokens(
    advantage: Advantage,
    prefix_lengths: Tensor,
    lengths: Tensor,
    width: int,
    config: DualAdvantageConfig,
    behaviour_weight: Tensor | None = None,
) -> Tensor:
    """Advantages `(N, width)`, one per completion token; zero behind a row's length.

    `prefix_lengths` and `lengths` `(N,)` count tokens: the tag's, and the completion's with its
    tag. `behaviour_weight` `(N,)` is read under `prefix_credit: behaviour` alone.

    Raises:
        ValueError: a row is longer than `width` or its tag than the row, or the weight is missing.
    """
    if bool((lengths > width).any()) or bool((prefix_lengths > lengths).any()):
        raise ValueError("a tag must fit its completion, and a completion the width")
    tag = config.prefix_weight * advantage.total
    if config.prefix_credit == "behaviour":
        if behaviour_weight is None:
            raise ValueError("prefix_credit 'behaviour' needs behaviour_weight")
        tag = tag * behaviour_weight
    rest = advantage.intra if config.inter_on == "prefix" else advantage.total
    place = torch.arange(width, device=rest.device)
    tokens = torch.where(place < prefix_lengths[:, None], tag[:, None], rest[:, None])
    return torch.where(place < lengths[:, None], tokens, 0.0)


@torch.no_grad()
def behaviour_weight(
    logp_general: Tensor, logp_personalized: Tensor, is_personalized: Tensor
) -> Tensor:
    """`pi(mode) / 0.5` of each row's mode, from 0 to 2, `(N,)`, without gradient.

    `pi` is the policy's probability of the tag among the two tags, from the log-probabilities of
    both whole tags in nats, `(N,)`. Forcing draws each mode with 0.5: the weight turns that into
    the policy's own draw, so the push on the decision dies out as the policy grows sure.
    """
    log_odds = logp_personalized - logp_general
    own = torch.sigmoid(torch.where(is_personalized, log_odds, -log_odds))
    return own / 0.5


@torch.no_grad()
def cap_reference(
    ref_logps: Tensor,
    policy_logps: Tensor,
    prefix_mask: Tensor,
    cap: float,
    kind: PrefixKl = "capped",
) -> Tensor:
    """Reference log-probs `(N, T)` for the KL term, moved on tag tokens alone; no gradient.

    `capped` keeps them within `cap` nats of the policy's, `off` sets them equal to it, `same`
    leaves them. It changes data, not the loss: k3's gradient on a forced tag is at most
    `exp(cap) - 1`, where an unbounded one reaches hundreds on a rare tag. A bounded pull is no
    anchor: under `prefix_credit: paper` a reward gap above about
    `kl_coefficient * (exp(cap) - 1) / prefix_weight` outweighs it for good.

    Raises:
        ValueError: unknown kind, or a cap that is not above zero.
    """
    require("kind", kind, get_args(PrefixKl))
    if not cap > 0:
        raise ValueError("cap must be above zero; kind 'off' is for no KL at all")
    if kind == "same":
        return ref_logps
    room = cap if kind == "capped" else 0.0
    bounded = ref_logps.clamp(policy_logps - room, policy_logps + room)
    return torch.where(prefix_mask, bounded, ref_logps)


def group_stats(rewards: Tensor, is_personalized: Tensor, group_ids: Tensor) -> GroupStats:
    """Statistics of N rewards; arguments and errors are those of `dual_advantage`."""
    groups = _Groups(rewards, is_personalized, group_ids)
    means, has_rewards = (cells.view(-1, 2) for cells in groups.means(groups.own))
    gaps = (means[:, 1] - means[:, 0])[has_rewards.all(1)]
    is_known = has_rewards.any(1)
    is_flat = groups.are_flat(groups.own).view(-1, 2).all(1)
    is_equal = groups.are_flat(groups.group)[: groups.count]
    return GroupStats(
        reward_general=_mean(groups.values[groups.known & ~groups.personalized]),
        reward_personalized=_mean(groups.values[groups.known & groups.personalized]),
        gap=_mean(gaps),
        zero_intra=_mean(is_flat[is_known].to(gaps.dtype)),
        zero_gap=_mean((gaps.abs() <= GAP_TOLERANCE).to(gaps.dtype)),
        all_equal=_mean(is_equal[is_known].to(gaps.dtype)),
    )


class _Groups:
    """Rows sorted into cells: by group, or into two per group, one a mode (`own`, `other`)."""

    def __init__(self, rewards: Tensor, is_personalized: Tensor, group_ids: Tensor) -> None:
        if rewards.dim() != 1 or not rewards.shape == is_personalized.shape == group_ids.shape:
            raise ValueError("rewards, is_personalized and group_ids must have one shape (N,)")
        if bool(rewards.isinf().any()):
            raise ValueError("a reward is infinite; give NaN for one that is unknown")
        # Means of half-precision rewards would round away the gap.
        self.values = rewards.detach().to(torch.promote_types(rewards.dtype, torch.float32))
        self.known = ~self.values.isnan()
        self.personalized = is_personalized.bool()
        ids, self.group = torch.unique(group_ids, return_inverse=True)
        self.count = len(ids)
        self.own = 2 * self.group + self.personalized.long()
        self.other = 2 * self.group + (~self.personalized).long()

    def means(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Mean reward of each cell (0 where it has none), and whether it has any reward."""
        zeros = self.values.new_zeros(2 * self.count)
        sums = zeros.index_add(0, cells, torch.where(self.known, self.values, 0.0))
        counts = zeros.index_add(0, cells, self.known.to(zeros.dtype))
        return sums / counts.clamp(min=1), counts > 0

    def are_flat(self, cells: Tensor) -> Tensor:
        """Whether a cell has no two different rewards; exact, unlike a variance."""
        low = self.values.new_full((2 * self.count,), math.inf)
        high, rows, known = -low, cells[self.known], self.values[self.known]
        low.scatter_reduce_(0, rows, known, "amin")
        high.scatter_reduce_(0, rows, known, "amax")
        return high <= low


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan
