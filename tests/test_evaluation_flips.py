"""Flips: what interference nets, against values worked out by hand."""

from __future__ import annotations

from tests.test_evaluation_measures import ALIGNED, NONE, UNALIGNED, failed, rows, said, value


def test_flips_are_what_interference_nets() -> None:
    """q0 and q1 are lost, q2 is won, q3 stays right; q4 has no answer without a persona."""
    marks = {NONE: "1101", UNALIGNED: "00111"}
    found = rows(
        *(
            said(f"q{place}", shown, mark == "1")
            for shown, given in marks.items()
            for place, mark in enumerate(given)
        )
    )
    lost = value(found, "negative_flips", UNALIGNED)
    won = value(found, "positive_flips", UNALIGNED)
    assert (lost, won) == (0.5, 0.25)
    assert value(found, "interference", "objective") == lost - won
    assert not [label for label in found if label.part == ALIGNED and "flips" in label.measure]


def test_a_flip_is_of_one_seed() -> None:
    """What fails flips too: it was right, and is wrong."""
    found = rows(
        *(said("q0", NONE, seed == 0, seed=seed) for seed in (0, 1)),
        said("q0", UNALIGNED, seed=0),
        failed("q0", UNALIGNED, seed=1),
        said("q1", NONE),
        failed("q1", UNALIGNED),
    )
    assert value(found, "negative_flips", UNALIGNED) == 1 / 3
    assert value(found, "positive_flips", UNALIGNED) == 0.0
