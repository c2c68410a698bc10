"""From advantages to tokens: the tag's weight and credit, and the reference of its KL term."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.advantage import (
    Advantage,
    behaviour_weight,
    cap_reference,
    expand_to_tokens,
)
from training.credit import DualAdvantageConfig


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("variant", "grpo"),
        ("prefix_credit", "none"),
        ("inter_on", "tag"),
        ("prefix_kl", "k3"),
        ("prefix_weight", -1.0),
        ("prefix_weight", math.inf),
        ("prefix_weight", math.nan),
        ("kl_cap", 0.0),
        ("kl_cap", math.nan),
    ],
)
def test_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        DualAdvantageConfig(**{option: value})


TWO = Advantage(torch.tensor([1.0, -0.5]), torch.tensor([0.25, 0.5]), torch.tensor([0.75, -1.0]))
PREFIXES, LENGTHS = torch.tensor([2, 3]), torch.tensor([4, 5])


@pytest.mark.parametrize(
    ("config", "weight", "expected"),
    [
        # Tag tokens twice the total, the rest the total, zero behind the length.
        ({}, None, [[2, 2, 1, 1, 0, 0], [-1, -1, -1, -0.5, -0.5, 0]]),
        ({"prefix_weight": 0.0}, None, [[0, 0, 1, 1, 0, 0], [0, 0, 0, -0.5, -0.5, 0]]),
        # The gap trains the decision alone.
        ({"inter_on": "prefix"}, None, [[2, 2, 0.25, 0.25, 0, 0], [-1, -1, -1, 0.5, 0.5, 0]]),
        # The policy's own choice, 0.3 and 0.7, over 0.5: tag tokens only.
        (
            {"prefix_credit": "behaviour"},
            [0.6, 1.4],
            [[1.2, 1.2, 1, 1, 0, 0], [-1.4, -1.4, -1.4, -0.5, -0.5, 0]],
        ),
        # The paper's credit reads no weight.
        ({}, [0.6, 1.4], [[2, 2, 1, 1, 0, 0], [-1, -1, -1, -0.5, -0.5, 0]]),
    ],
)
def test_advantages_of_tokens(
    config: dict[str, Any], weight: list[float] | None, expected: list[list[float]]
) -> None:
    """Two rows of 4 and 5 tokens in a width of 6, with tags of 2 and 3: `(2, 6)`."""
    weights = None if weight is None else torch.tensor(weight)
    found = expand_to_tokens(TWO, PREFIXES, LENGTHS, 6, DualAdvantageConfig(**config), weights)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_tokens_that_do_not_fit_are_refused() -> None:
    config = DualAdvantageConfig(prefix_credit="behaviour")
    with pytest.raises(ValueError, match="needs behaviour_weight"):
        expand_to_tokens(TWO, PREFIXES, LENGTHS, 6, config)
    with pytest.raises(ValueError, match="must fit"):
        expand_to_tokens(TWO, PREFIXES, LENGTHS, 4, DualAdvantageConfig())
    with pytest.raises(ValueError, match="must fit"):
        expand_to_tokens(TWO, PREFIXES + 3, LENGTHS, 6, DualAdvantageConfig())


def test_behaviour_weight_is_the_policys_own_choice() -> None:
    """Odds of 3 to 1: 3/4 and 1/4 over 1/2. The tags' shared mass cancels; no gradient."""
    general = torch.tensor([-5.0, -5.0], requires_grad=True)
    found = behaviour_weight(general, general + math.log(3), torch.tensor([True, False]))
    assert found.tolist() == pytest.approx([1.5, 0.5])
    assert not found.requires_grad


@given(st.floats(-200, 0), st.floats(-200, 0))
def test_behaviour_weights_of_both_modes_sum_to_two(general: float, personalized: float) -> None:
    """So the two halves, drawn with 1/2 each, have the policy's own probabilities."""
    both = torch.tensor([[general] * 2, [personalized] * 2], dtype=torch.float64)
    found = behaviour_weight(both[0], both[1], torch.tensor([False, True]))
    assert found.sum().item() == pytest.approx(2.0)
    assert (found >= 0).all()
    assert (found[1] - found[0]).item() * (personalized - general) >= 0


def test_the_reference_moves_on_tag_tokens_alone() -> None:
    """Two tag tokens, 6 above and 0.5 below the policy, and an answer token 4 above."""
    policy = torch.tensor([[-7.0, -1.0, -5.0]], requires_grad=True)
    reference = torch.tensor([[-1.0, -1.5, -1.0]])
    mask = torch.tensor([[True, True, False]])
    capped = cap_reference(reference, policy, mask, cap=1.0)
    assert capped.tolist() == [[-6.0, -1.5, -1.0]]
    assert not capped.requires_grad
    assert cap_reference(-reference - 20, policy, mask, 1.0).tolist() == [[-8.0, -2.0, -19.0]]
    assert cap_reference(reference, policy, mask, 1.0, "off").tolist() == [[-7.0, -1.0, -1.0]]
    assert cap_reference(reference, policy, mask, 1.0, "same").tolist() == reference.tolist()
    assert reference.tolist() == [[-1.0, -1.5, -1.0]]
    with pytest.raises(ValueError, match="above zero"):
        cap_reference(reference, policy, mask, 0.0)
    with pytest.raises(ValueError, match="kind"):
        cap_reference(reference, policy, mask, 1.0, "k3")  # type: ignore[arg-type]


def test_a_capped_reference_bounds_the_gradient_of_k3() -> None:
    """P(tag) = .001 against .5: the plain gradient is 499; capped at 1 nat it is e - 1."""
    slopes = []
    for kind in ("same", "capped", "off"):
        policy = torch.tensor([[math.log(0.001)]], requires_grad=True)
        start = torch.tensor([[math.log(0.5)]])
        reference = cap_reference(start, policy, torch.ones(1, 1, dtype=torch.bool), 1.0, kind)
        log_ratio = reference - policy
        (log_ratio.exp() - log_ratio - 1).sum().backward()
        assert policy.grad is not None
        slopes.append(-policy.grad.item())
    assert slopes == pytest.approx([499.0, math.e - 1, 0.0], rel=1e-4, abs=1e-6)
