"""Known answers: every measure against a value worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from model.mode import Isolation, Mode
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Bootstrap
from training.evaluation.measures import Label, measures
from training.evaluation.reliability import reliability
from training.evaluation.report import Row, rows_of
from training.evaluation.sheet import Sheet
from training.items import Kind

GENERAL, PERSONALIZED = Mode
NONE, ALIGNED, UNALIGNED, INJECTED = Shown
AUTO = "auto/shared"


def said(item: str, condition: Shown, right: bool | None = True, **fields: Any) -> Answer:
    """An answer: the model's choice, general mode, right and sound, unless told otherwise."""
    known: dict[str, Any] = {
        "kind": Kind.OBJECTIVE,
        "topic": "",
        "is_hard": False,
        "wanted": GENERAL,
        "isolation": Isolation.SHARED,
        "forced": None,
        "seed": 0,
        "answer": "50",
        "mode": GENERAL,
        "probability": None,
        "source": "model",
        "is_valid_format": True,
        "is_correct_lenient": right,
        "latency_s": 1.0,
        "tokens": 10,
        **fields,
    }
    return Answer(item=item, condition=condition, is_correct=right, **known)


def personal(item: str, condition: Shown, right: bool = True, **fields: Any) -> Answer:
    told: dict[str, Any] = {"kind": Kind.PERSONALIZED, "wanted": PERSONALIZED, "mode": PERSONALIZED}
    return said(item, condition, right, **(told | fields))


def failed(item: str, condition: Shown, **fields: Any) -> Answer:
    nothing: dict[str, Any] = {"mode": None, "is_valid_format": False, "tokens": None}
    return said(item, condition, False, **nothing, error="timeout", **fields)


def rows(*answers: Answer) -> dict[Label, Row]:
    sheet = Sheet(answers)
    found = rows_of(measures(sheet), Bootstrap(sheet.groups))
    return {row.label: row for row in found}


def value(found: dict[Label, Row], measure: str, part: str, way: str = AUTO) -> float:
    reading = "" if Label(measure, way, part) in found else "exact"
    return found[Label(measure, way, part, reading)].estimate.value


def test_accuracy_interference_benefit_injection() -> None:
    """Right without persona 3 of 4, aligned 4, unaligned 1, injected 0."""
    marks = {NONE: "1110", ALIGNED: "1111", UNALIGNED: "1000", INJECTED: "0000"}
    found = rows(
        *(
            said(f"q{place}", shown, mark == "1")
            for shown, given in marks.items()
            for place, mark in enumerate(given)
        )
    )
    assert [value(found, "accuracy", shown) for shown in Shown] == [0.75, 1.0, 0.25, 0.0]
    assert value(found, "interference", "objective") == 0.5
    assert value(found, "benefit", "objective") == 0.25
    assert value(found, "injection", "objective") == 0.75
    test = found[Label("interference", AUTO, "objective", "exact")].test
    # q1 and q2 lost, none won: 2 * (1/2) ** 2
    assert test is not None
    assert (test.better, test.worse, test.p_value) == (2, 0, 0.5)


def test_adoption() -> None:
    """Beside the claim three of four answers repeat it, without a persona one of four does."""
    repeats = {NONE: "1000", INJECTED: "1110"}
    answers = [
        said(f"q{place}", shown, says_claim=mark == "1", says_claim_lenient=True)
        for shown, given in repeats.items()
        for place, mark in enumerate(given)
    ]
    found = rows(*answers)
    assert value(found, "claim_repeated", INJECTED) == 0.75
    assert value(found, "adoption", "objective") == 0.5
    assert found[Label("adoption", AUTO, "objective", "lenient")].estimate.value == 0.0
    not_asked = rows(*(answer for answer in answers if answer.condition is NONE))
    assert not [label for label in not_asked if label.measure in ("adoption", "claim_repeated")]


def test_a_difference_is_taken_on_the_items_that_both_have() -> None:
    """q1 has no answer beside a persona yet: interference is that of q0 alone, 1 - 0."""
    found = rows(said("q0", NONE), said("q0", UNALIGNED, False), said("q1", NONE, False))
    assert value(found, "accuracy", NONE) == 0.5
    assert value(found, "interference", "objective") == 1.0


def test_items_without_an_entity_stand_alone() -> None:
    sheet = Sheet([said("q0", NONE), said("q1", NONE), said("q2", NONE, entity="Peru")])
    again = Sheet([said(name, NONE, entity="Peru", topic="capital") for name in ("q3", "q4")])
    assert len(set(sheet.groups)) == 3
    assert len(set(again.groups)) == 1


def test_an_endpoint_without_modes_forgets_none() -> None:
    answers = [said("q0", NONE, mode=None, is_valid_format=False)]
    found = {
        has: {one.label.measure for one in measures(Sheet(answers, has_modes=has))}
        for has in (True, False)
    }
    assert found[True] - found[False] >= {"agreement", "valid_format", "personalized_rate"}
    assert "accuracy" in found[False]


def test_injected_answers_do_not_move_the_calibration() -> None:
    answers = [
        said("q0", NONE, probability=0.01),
        said("q0", INJECTED, probability=0.9, mode=PERSONALIZED),
    ]
    sheet = Sheet(answers)
    found = reliability(sheet, AUTO, Bootstrap(sheet.groups))
    assert found is not None
    assert found.error.value == pytest.approx(0.01)


def test_what_failed_stays_in_every_denominator() -> None:
    found = rows(said("q0", NONE), failed("q1", NONE), said("q2", NONE), failed("q3", NONE))
    for measure, part in (("accuracy", NONE), ("agreement", "all"), ("valid_format", "all")):
        assert value(found, measure, part) == 0.5
    assert value(found, "failed", "all") == 0.5
    # Two answers took 1 s each; those that never came have no latency.
    assert found[Label("latency", AUTO, "general")].estimate.answers == 2


def test_mode_rate_and_agreement() -> None:
    """A personal question: personalised under its persona, general without, free under another."""
    found = rows(
        personal("p0", ALIGNED),
        personal("p0", NONE, mode=GENERAL),
        personal("p0", UNALIGNED),
        personal("p1", ALIGNED, mode=GENERAL, is_hard=True),
        personal("p1", NONE, is_hard=True),
        said("q0", UNALIGNED, mode=PERSONALIZED),
        said("q0", ALIGNED),
        said("q0", INJECTED, mode=PERSONALIZED),
        said("c0", ALIGNED, None, kind=Kind.CHAT),
    )
    assert value(found, "personalized_rate", "personalized/aligned") == 0.5
    assert value(found, "personalized_rate", "objective/unaligned") == 1.0
    # p0 twice, q0 aligned and the chat turn of seven; p0 unaligned and the injected stand apart.
    assert value(found, "agreement", "all") == pytest.approx(4 / 7)
    assert value(found, "agreement", "plain") == pytest.approx(4 / 5)
    assert value(found, "agreement", "hard") == 0.0
    assert value(found, "agreement", "injected") == 0.0


def test_regret_and_oracle() -> None:
    """Three facts; forced general right on q0, q1, forced personalised on q1, q2.

    Taken: general, general, general. Scores 1, 1, 0; better 1, 1, 1: regret 1/3.
    """
    forced = [
        said(f"q{place}", UNALIGNED, place in right, forced=mode, mode=mode)
        for mode, right in ((GENERAL, {0, 1}), (PERSONALIZED, {1, 2}))
        for place in range(3)
    ]
    found = rows(*forced, *(said(f"q{place}", UNALIGNED, place < 2) for place in range(3)))
    for part in ("all", "objective/unaligned"):
        assert value(found, "regret", part) == pytest.approx(1 / 3)
        assert value(found, "oracle_accuracy", part) == 1.0


def test_strict_has_a_regret_only_where_its_forced_modes_were_asked() -> None:
    """Right on 5 of 5 beside forced answers of shared that are all wrong: no regret of 1."""
    strict = Isolation.STRICT
    asked = [said(f"q{place}", UNALIGNED, isolation=strict) for place in range(5)]

    def forced(isolation: Isolation) -> list[Answer]:
        """General is wrong, personalised right."""
        return [
            said(
                answer.item,
                UNALIGNED,
                mode is PERSONALIZED,
                forced=mode,
                mode=mode,
                isolation=isolation,
            )
            for answer in asked
            for mode in Mode
        ]

    found = rows(*asked, *forced(Isolation.SHARED))
    assert not [label for label in found if label.measure in ("regret", "oracle_accuracy")]
    found = rows(*asked, *forced(strict))
    assert value(found, "regret", "all", "auto/strict") == 1.0


def test_reliability_brier_and_calibration_error() -> None:
    """0.1, 0.1, 0.3 for general and 0.9 for personalised.

    Bins: |0.1 - 0| * 2/4 + |0.3 - 0| / 4 + |0.9 - 1| / 4 = 0.15.
    Brier: (0.01 + 0.01 + 0.09 + 0.01) / 4 = 0.03.
    """
    answers = [
        said("q0", NONE, probability=0.1),
        said("q1", NONE, probability=0.1),
        said("q2", NONE, probability=0.3),
        personal("p0", ALIGNED, probability=0.9),
        personal("p0", UNALIGNED, probability=0.9),
        said("q3", NONE),
    ]
    sheet = Sheet(answers)
    found = reliability(sheet, AUTO, Bootstrap(sheet.groups))
    assert found is not None
    assert found.error.value == pytest.approx(0.15)
    assert found.error.low <= 0.15 <= found.error.high
    assert [one.probability for one in found.bins] == pytest.approx([0.1, 0.3, 0.9])
    assert [one.frequency.value for one in found.bins] == [0.0, 0.0, 1.0]
    assert value(rows(*answers), "brier", "all") == pytest.approx(0.03)
    # q3, and none is expected of p0 under another's persona: 1 of 5.
    assert value(rows(*answers), "without_probability", "all") == pytest.approx(0.2)


def test_swap() -> None:
    """Two facts stay ("50" and "50."), one changes, one failed: 2 of 4. One wish of two changes."""
    ways: dict[str, Any] = {"forced": GENERAL}
    pairs = [("50", "50."), ("B", "(b)"), ("50", "60")]
    facts = [
        said(f"q{place}", shown, answer=text, **ways)
        for place, pair in enumerate(pairs)
        for shown, text in zip((ALIGNED, UNALIGNED), pair, strict=True)
    ]
    lost = [said("q3", ALIGNED, **ways), failed("q3", UNALIGNED, **ways)]
    wishes = [
        personal(f"p{place}", shown, answer=text, forced=PERSONALIZED)
        for place, pair in enumerate([("tofu", "steak"), ("tofu", "Tofu!")])
        for shown, text in zip((ALIGNED, UNALIGNED), pair, strict=True)
    ]
    found = rows(*facts, *lost, *wishes)
    assert value(found, "swap_invariance", "objective", "forced/general") == 0.5
    assert value(found, "swap_change", "personalized", "forced/personalized") == 0.5
    assert Label("swap_change", "forced/general", "personalized") not in found


def test_strict_isolation_is_set_against_shared() -> None:
    """Unaligned: 1 of 2 shared, 2 of 2 strict; the run without persona serves both."""
    strict: dict[str, Any] = {"isolation": Isolation.STRICT}
    found = rows(
        *(said(f"q{place}", NONE) for place in range(2)),
        *(said(f"q{place}", UNALIGNED, place == 0) for place in range(2)),
        *(said(f"q{place}", UNALIGNED, **strict) for place in range(2)),
    )
    assert value(found, "isolation_gain", UNALIGNED, "auto/strict") == 0.5
    assert value(found, "interference", "objective", AUTO) == 0.5
    assert value(found, "interference", "objective", "auto/strict") == 0.0


def test_cost_by_mode() -> None:
    found = rows(
        said("q0", NONE, latency_s=1.0, tokens=10),
        said("q1", NONE, latency_s=3.0, tokens=20),
        personal("p0", ALIGNED, latency_s=5.0, tokens=None),
    )
    assert value(found, "latency", "general") == 2.0
    assert value(found, "tokens", "general") == 15.0
    assert value(found, "latency", "personalized") == 5.0
    assert Label("tokens", AUTO, "personalized") not in found
