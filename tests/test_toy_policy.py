"""What the tag's credit does to the decision over many updates, on one logit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks.toy import expected_step, plot, simulate
from model.decision import sigmoid
from training.advantage import (
    DualAdvantageConfig,
    behaviour_weight,
    dual_advantage,
    expand_to_tokens,
)

GAP = 0.5
PAPER = DualAdvantageConfig(prefix_weight=1.0)
BEHAVIOUR = DualAdvantageConfig(prefix_weight=1.0, prefix_credit="behaviour")


@pytest.mark.parametrize("config", [PAPER, BEHAVIOUR, DualAdvantageConfig()])
@pytest.mark.parametrize("logit", [-3.0, 0.0, 0.7, 6.0])
def test_the_toy_takes_the_step_of_the_real_functions(
    config: DualAdvantageConfig, logit: float
) -> None:
    """Policy gradient of a forced group, by autograd through advantage and expansion."""
    parameter = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    is_personalized = torch.tensor([False, True, True, False])
    general, personalized = (torch.nn.functional.logsigmoid(sign * parameter) for sign in (-1, 1))
    own = torch.where(is_personalized, personalized, general)
    rewards = torch.tensor([0.1, 0.9, 0.5, 0.3], dtype=torch.float64)  # means 0.2 and 0.7
    advantage = dual_advantage(rewards, is_personalized, torch.zeros(4, dtype=torch.long))
    weight = behaviour_weight(general.expand(4), personalized.expand(4), is_personalized)
    one = torch.ones(4, dtype=torch.long)
    tokens = expand_to_tokens(advantage, one, one, 1, config, weight)
    (tokens[:, 0] * own).mean().backward()
    assert parameter.grad is not None
    assert expected_step(logit, GAP, config) == pytest.approx(parameter.grad.item(), rel=1e-9)


def test_paper_credit_drifts_by_half_the_gap_however_sure_the_policy_is() -> None:
    """Each step is 0.5 / 2 = 0.25, also where the probability is already 1 - 1e-21."""
    logits = simulate(GAP, 200, PAPER)
    assert logits == pytest.approx([0.25 * step for step in range(201)])
    assert sigmoid(logits[-1]) == 1.0
    # The paper's weight of 2 on the tag's tokens doubles it.
    assert simulate(GAP, 200, DualAdvantageConfig())[-1] == pytest.approx(100.0)


def test_behaviour_credit_saturates() -> None:
    """It begins with the paper's step, then follows z + sinh(z) = gap * t."""
    rate, steps = 0.05, 4000
    logits = simulate(GAP, steps, BEHAVIOUR, learning_rate=rate)
    assert logits[1] == pytest.approx(rate * GAP / 2)
    for step in (400, 2000, steps):
        z = logits[step]
        assert z + math.sinh(z) == pytest.approx(GAP * rate * step, rel=0.02)
    # Twice the time adds about ln 2, where paper credit adds 25; the push falls to a fortieth.
    assert logits[4000] - logits[2000] == pytest.approx(math.log(2), abs=0.05)
    assert logits[-1] - logits[-2] < (logits[1] - logits[0]) / 40


def test_no_gap_no_drift_and_a_negative_gap_mirrors() -> None:
    for config in (PAPER, BEHAVIOUR):
        assert simulate(0.0, 50, config)[-1] == 0.0
        down = simulate(-GAP, 50, config)
        assert down == pytest.approx([-logit for logit in simulate(GAP, 50, config)])


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    """A PNG of a plausible size that is not one colour."""
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    path = tmp_path / "drift.png"
    plot(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert path.stat().st_size > 10_000
    pixels = imread(path)
    assert pixels.shape[:2] == (420, 1080)
    assert pixels.std() > 0.01
