"""The decision and its calibration: one formula, used by gate, gateway, trainer and evaluator.

A decision compares a score with a bound. The score is the calibrated log-odds of personalised
mode; the bound is what the operator's dial asks for. Forcing a mode, a threshold and a draw are
the same comparison with another bound, so there is one rule and no special case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from model.errors import InvalidRequest
from model.mode import Mode, ModeWish

MODE_ARGUMENT = "personadual_mode"
THRESHOLD_ARGUMENT = "personadual_threshold"
DECISION_ARGUMENT = "personadual_decision"
GATE_ARGUMENTS = (MODE_ARGUMENT, THRESHOLD_ARGUMENT, DECISION_ARGUMENT)
GATED_KEY = "personadual_gated"
"""Among the chat-template arguments: tells the engine that a grammar binds a part of the reply."""
GATED_ANSWER, GATED_CALL = "answer", "call"
"""Its values: the grammar begins where the answer does; or, for a forced call, behind the tag."""
GREETING = "handshake"
"""A value of `personadual_mode` that every gate refuses: how a gateway learns that one is there."""


class Source(StrEnum):
    """Who took a decision."""

    MODEL = "model"  # the model, at the threshold on its card
    THRESHOLD = "threshold"  # the model, at a threshold that someone set
    REQUEST = "request"  # the caller forced the mode
    POLICY = "policy"  # the deployment forced the mode
    FALLBACK = "fallback"  # the gateway, because something that it needs is away


@dataclass(frozen=True, slots=True)
class Calibration:
    """`P(personalized) = sigmoid(slope * (logp_personalized - logp_general) + intercept)`.

    Raises:
        ValueError: slope or intercept is not finite, slope is not positive, or the threshold is
            outside [0, 1].
    """

    slope: float = 1.0
    intercept: float = 0.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and self.slope > 0):
            raise ValueError("slope must be a positive number")
        if not math.isfinite(self.intercept):
            raise ValueError("intercept must be a finite number")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError("threshold must lie between 0 and 1")

    def score(self, log_odds: float) -> float:
        """Calibrated log-odds of personalised mode, from the raw `logp_personalized -
        logp_general`."""
        return self.slope * log_odds + self.intercept

    def probability(self, log_odds: float) -> float:
        return sigmoid(self.score(log_odds))


@dataclass(frozen=True, slots=True)
class Decision:
    """The mode that a reply took. `mode` is None where the reply opened with no tag at all.

    `probability` is that of personalised mode, whichever mode was taken; None where the engine
    gave no log-probabilities. `mass` is the model's own probability of opening either tag.
    """

    mode: Mode | None
    source: Source
    probability: float | None = None
    mass: float | None = None


@dataclass(frozen=True, slots=True)
class Dial:
    """What is asked of the gate for one request.

    `forced` wins over `threshold`; without either the card's threshold decides. `sample` draws
    the mode with its own probability instead of comparing with a threshold.
    """

    forced: Mode | None = None
    threshold: float | None = None
    sample: bool = False

    def bound(self, calibration: Calibration, draw: float) -> float:
        """The score at or above which the mode is personalised; `draw` is uniform in (0, 1).

        A threshold of 0 is always reached and one of 1 never, also where the probability has
        saturated. A mode drawn with probability p is one that p reaches a uniform draw.
        """
        if self.forced is not None:
            return -math.inf if self.forced is Mode.PERSONALIZED else math.inf
        if self.sample:
            return logit(draw)
        return logit(calibration.threshold if self.threshold is None else self.threshold)

    def to_arguments(self) -> dict[str, str | float]:
        """`vllm_xargs` of a gated request."""
        arguments: dict[str, str | float] = {MODE_ARGUMENT: self.forced or "auto"}
        if self.threshold is not None:
            arguments[THRESHOLD_ARGUMENT] = self.threshold
        if self.sample:
            arguments[DECISION_ARGUMENT] = "sample"
        return arguments

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, object] | None) -> Dial | None:
        """Read `vllm_xargs`; None where the request is not gated.

        Raises:
            InvalidRequest: a gate argument is unknown or has an impossible value.
        """
        given = {
            name: value
            for name, value in (arguments or {}).items()
            if name.startswith("personadual_")
        }
        if not given:
            return None
        for name in given:
            if name not in GATE_ARGUMENTS:
                raise InvalidRequest(
                    f"{name} is not an argument of the PersonaDual gate", field=name
                )
        return cls(
            forced=_read_mode(given.get(MODE_ARGUMENT, "auto")),
            threshold=_read_threshold(given.get(THRESHOLD_ARGUMENT)),
            sample=_read_sample(given.get(DECISION_ARGUMENT, "threshold")),
        )


def sigmoid(score: float) -> float:
    """Logistic function that neither overflows nor loses its small end."""
    if math.isnan(score):
        return math.nan
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1.0 + odds)


def logit(probability: float) -> float:
    """Inverse of `sigmoid` on [0, 1]; the ends are minus and plus infinity."""
    if probability <= 0.0:
        return -math.inf
    if probability >= 1.0:
        return math.inf
    return math.log(probability) - math.log1p(-probability)


def _read_mode(value: object) -> Mode | None:
    try:
        return ModeWish(str(value)).forced
    except ValueError as error:
        raise InvalidRequest(
            f"{MODE_ARGUMENT} must be auto, general or personalized", field=MODE_ARGUMENT
        ) from error


def _read_threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0:
        return float(value)
    raise InvalidRequest(
        f"{THRESHOLD_ARGUMENT} must be a number from 0 to 1", field=THRESHOLD_ARGUMENT
    )


def _read_sample(value: object) -> bool:
    if value not in ("threshold", "sample"):
        raise InvalidRequest(
            f"{DECISION_ARGUMENT} must be threshold or sample", field=DECISION_ARGUMENT
        )
    return value == "sample"
