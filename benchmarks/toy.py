"""A toy of the decision: one logit, two modes, exact expected updates. Pure arithmetic.

`python -m benchmarks.toy docs/saturation.png` draws both kinds of credit.

It shows why the model's own probability needs care. Half of the rollouts are forced to each mode,
so the paper's credit moves the mode logit by half the reward gap however sure the policy is;
behaviour credit weights each mode by the policy's own choice, and the push dies out:

    paper      dz/dt = weight * gap / 2                  z = weight * gap / 2 * t
    behaviour  dz/dt = weight * gap * 2 * p * (1 - p)    z + sinh(z) = weight * gap * t

No KL term, no answer tokens: only the tag's deciding token.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model.decision import sigmoid
from training.credit import DualAdvantageConfig


def expected_step(
    logit: float, gap: float, config: DualAdvantageConfig, learning_rate: float = 1.0
) -> float:
    """By how much one update moves the logit of personalised mode.

    `gap` is the mean reward of personalised mode minus that of general mode. The tag's expected
    advantage is then `gap` for the one and `-gap` for the other, and the gradients of their
    log-probabilities are `1 - p` and `-p`.
    """
    p = sigmoid(logit)
    is_weighted = config.prefix_credit == "behaviour"
    weight_personalized, weight_general = (2 * p, 2 * (1 - p)) if is_weighted else (1.0, 1.0)
    gradient = 0.5 * (weight_personalized * gap * (1 - p) + weight_general * -gap * -p)
    return learning_rate * config.prefix_weight * gradient


def simulate(
    gap: float, steps: int, config: DualAdvantageConfig, learning_rate: float = 1.0
) -> list[float]:
    """The logit before each of `steps` updates and after the last one, from an undecided 0."""
    logits = [0.0]
    for _ in range(steps):
        logits.append(logits[-1] + expected_step(logits[-1], gap, config, learning_rate))
    return logits


def plot(path: Path, gap: float = 0.5, steps: int = 100) -> None:
    """Draw logit and probability under both credits into a PNG at `path`."""
    # Only whoever draws needs the library; the file is made without a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for config in (DualAdvantageConfig(), DualAdvantageConfig(prefix_credit="behaviour")):
        logits = simulate(gap, steps, config)
        left.plot(logits, label=config.prefix_credit)
        right.plot([sigmoid(logit) for logit in logits], label=config.prefix_credit)
    left.set(xlabel="update", ylabel="mode logit", title=f"Reward gap {gap}")
    right.set(xlabel="update", ylabel="P(personalized)", ylim=(0.45, 1.02), title="No KL")
    left.legend(title="prefix_credit")
    figure.savefig(path, format="png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="the PNG to write")
    plot(parser.parse_args().picture)


if __name__ == "__main__":
    main()
