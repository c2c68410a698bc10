"""Modes, tags, and the decision: one formula and one comparison."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decision import Calibration, Dial, logit, sigmoid
from model.errors import InvalidRequest
from model.mode import Mode, TagIds, Tags

SMOLLM2 = TagIds((75, 12522, 79, 9368, 77, 198), (75, 26341, 1005, 79, 9368, 77, 198))
probabilities = st.floats(0.0, 1.0)
logprobs = st.floats(-60.0, 0.0)


def test_tags_part_where_their_ids_first_differ() -> None:
    """SmolLM2's tags share `[`; the decision falls at index 1."""
    assert SMOLLM2.parting == 1
    assert SMOLLM2.rivals() == (12522, 26341)
    assert SMOLLM2.longest == 7
    assert TagIds((9,), (8,)).parting == 0


@pytest.mark.parametrize(("general", "personalized"), [((), (1,)), ((1,), (1, 2)), ((1,), (1,))])
def test_ids_that_cannot_be_told_apart_are_refused(
    general: tuple[int, ...], personalized: tuple[int, ...]
) -> None:
    """One tag's ids must not begin the other's."""
    with pytest.raises(ValueError, match="beginning"):
        TagIds(general, personalized)


@pytest.mark.parametrize(("general", "personalized"), [("", "b"), ("[a]", "[a]b"), (" \n", "x")])
def test_tags_that_cannot_be_told_apart_are_refused(general: str, personalized: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        Tags(general, personalized)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", None),
        ("[", None),
        ("[G", Mode.GENERAL),
        ("[Personal", Mode.PERSONALIZED),
        ("[Personalized_mode]\n", Mode.PERSONALIZED),
        ("[Personalized_mode]\nHello", Mode.PERSONALIZED),
        ("[Gosh", None),
    ],
)
def test_the_beginning_of_a_tag_tells_the_mode(text: str, mode: Mode | None) -> None:
    """What a probe that ends with the deciding token is read by."""
    assert Tags().parted(text) is mode


def test_probability_by_hand() -> None:
    """slope 2, intercept 1, log-probabilities -1 and -0.5: sigmoid(2 * 0.5 + 1) = 0.880797."""
    assert Calibration(2.0, 1.0).probability(-0.5 - -1.0) == pytest.approx(0.8807970779778823)


@given(logprobs, logprobs)
def test_uncalibrated_probability_is_the_softmax_of_both(
    general: float, personalized: float
) -> None:
    """Slope 1 and intercept 0 give exp(p) / (exp(g) + exp(p))."""
    softmax = math.exp(personalized) / (math.exp(general) + math.exp(personalized))
    assert Calibration().probability(personalized - general) == pytest.approx(softmax, abs=1e-12)


@given(st.floats(0.001, 0.999))
def test_logit_undoes_sigmoid(probability: float) -> None:
    assert sigmoid(logit(probability)) == pytest.approx(probability)


@pytest.mark.parametrize("score", [-1e4, -800.0, 0.0, 800.0, 1e4])
def test_sigmoid_never_overflows(score: float) -> None:
    assert 0.0 <= sigmoid(score) <= 1.0


@given(logprobs, logprobs, probabilities)
def test_bound_is_the_threshold_on_the_probability(
    general: float, personalized: float, threshold: float
) -> None:
    """Comparing score with bound is comparing probability with threshold, but for rounding."""
    calibration = Calibration(1.5, -0.2)
    score = calibration.score(personalized - general)
    probability = sigmoid(score)
    bound = Dial(threshold=threshold).bound(calibration, 0.5)
    if abs(probability - threshold) > 1e-9:
        assert (score >= bound) == (probability >= threshold) or threshold in (0.0, 1.0)


def test_ends_of_the_threshold_are_always_and_never() -> None:
    """0 takes personalised mode whatever the model thinks, 1 never does, however sure it is."""
    assert Dial(threshold=0.0).bound(Calibration(), 0.5) == -math.inf
    assert Dial(threshold=1.0).bound(Calibration(), 0.5) == math.inf


def test_forced_modes_are_bounds_too() -> None:
    assert Dial(forced=Mode.PERSONALIZED).bound(Calibration(), 0.5) == -math.inf
    assert Dial(forced=Mode.GENERAL).bound(Calibration(), 0.5) == math.inf


def test_a_drawn_mode_has_the_probability_of_the_model() -> None:
    """Of 10,000 evenly spaced draws, p = 0.7 reaches 7,000."""
    score = logit(0.7)
    draws = ((index + 0.5) / 10_000 for index in range(10_000))
    taken = sum(score >= Dial(sample=True).bound(Calibration(), draw) for draw in draws)
    assert taken == 7_000


@pytest.mark.parametrize(
    "dial",
    [
        Dial(),
        Dial(forced=Mode.GENERAL),
        Dial(forced=Mode.PERSONALIZED),
        Dial(threshold=0.25),
        Dial(sample=True),
    ],
)
def test_arguments_survive_the_way_to_the_gate(dial: Dial) -> None:
    """What the gateway writes is what the gate reads."""
    assert Dial.from_arguments({**dial.to_arguments(), "another_plugin": 1}) == dial


@pytest.mark.parametrize("arguments", [None, {}, {"another_plugin": "x"}])
def test_requests_without_gate_arguments_are_not_gated(arguments: dict[str, object] | None) -> None:
    assert Dial.from_arguments(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"personadual_mode": "x"}, "personadual_mode"),
        ({"personadual_mode": 1}, "personadual_mode"),
        ({"personadual_threshold": 2}, "personadual_threshold"),
        ({"personadual_threshold": "0.5"}, "personadual_threshold"),
        ({"personadual_threshold": True}, "personadual_threshold"),
        ({"personadual_threshold": math.nan}, "personadual_threshold"),
        ({"personadual_decision": "maybe"}, "personadual_decision"),
        ({"personadual_treshold": 0.5}, "personadual_treshold"),
    ],
)
def test_wrong_gate_arguments_are_refused_by_name(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Dial.from_arguments(arguments)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "wrong",
    [(0.0, 0.0, 0.5), (-1.0, 0.0, 0.5), (1.0, math.inf, 0.5), (1.0, 0.0, 1.5), (math.nan, 0, 0.5)],
)
def test_impossible_calibrations_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Calibration(*wrong)
