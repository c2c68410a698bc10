"""Parity: groups against values worked out by hand, and what chance alone would show."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.test_evaluation_measures import ALIGNED, GENERAL, said, value
from training.evaluation.answers import Answer
from training.evaluation.intervals import Bootstrap
from training.evaluation.parity import gaps, parity
from training.evaluation.report import rows_of
from training.evaluation.sheet import Sheet
from training.items import Condition, Item, Kind


def nurses_and_sailors(**groups: str) -> tuple[list[Item], list[Answer]]:
    """Facts beside personas of these jobs, all aged 34, answered with these marks."""
    number = count()
    items, answers = [], []
    for job, marks in groups.items():
        for mark in marks:
            name = f"q{next(number)}"
            known: dict[Condition, Any] = {Condition.ALIGNED: {"job": job, "age": 34}}
            shown: dict[str, Any] = {"answers": ["50"], "match": "number", "personas": {}}
            texts: dict[str, Any] = {"topic": "", "entity": "", "is_hard": False, "question": "?"}
            items.append(
                Item(
                    id=name,
                    kind=Kind.OBJECTIVE,
                    mode=GENERAL,
                    **texts,
                    **shown,
                    traces={},
                    attributes=known,
                )
            )
            right = mark != "0"
            answers.append(said(name, ALIGNED, mark == "1", is_correct_lenient=right))
    return items, answers


def test_parity() -> None:
    """Nurses 5 of 5 right, sailors 3 of 5: a gap of 0.4; ages stand in decades."""
    items, answers = nurses_and_sailors(nurse="11111", sailor="11100")
    sheet = Sheet(answers)
    found = {row.label: row for row in rows_of(parity(sheet, items, "exact"), Bootstrap(range(10)))}
    assert value(found, "parity_accuracy", "job=sailor") == 0.6
    assert value(found, "parity_accuracy", "age=30 to 39") == 0.8
    gap = next(gap for gap in gaps(sheet, items, "exact") if gap.measure == "accuracy")
    assert (gap.attribute, gap.top, gap.bottom) == ("job", "nurse", "sailor")
    assert gap.value == pytest.approx(0.4)
    # Of the C(10, 2) = 45 places of the two wrong ones 20 are in one group: 20 / 45.
    assert gap.p_value == pytest.approx(20 / 45, abs=0.05)
    assert parity(Sheet([said("x", ALIGNED)]), [], "exact") == []
    assert gaps(Sheet([said("x", ALIGNED)]), [], "exact") == []


def test_parity_is_read_as_the_report_is() -> None:
    """`?` is right leniently alone."""
    items, answers = nurses_and_sailors(nurse="11111", sailor="111??")
    found = gaps(Sheet(answers), items, "lenient")
    assert [gap.value for gap in found if gap.measure == "accuracy"] == [0.0]
    found = gaps(Sheet(answers), items, "exact")
    assert [gap.value for gap in found if gap.measure == "accuracy"] == [pytest.approx(0.4)]


def test_the_widest_of_many_gaps_is_not_taken_for_one() -> None:
    """Twelve groups of 20 that are alike: p below 0.05 about once in twenty, and not in most."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(20):
        groups = {f"job{n}": "".join(map(str, rng.integers(0, 2, 20))) for n in range(12)}
        items, answers = nurses_and_sailors(**groups)
        [gap] = [g for g in gaps(Sheet(answers), items, "exact") if g.measure == "accuracy"]
        found.append(gap.p_value)
    assert sum(p < 0.05 for p in found) <= 3
    # And a group that is never right stands out.
    groups["job0"] = "0" * 20
    items, answers = nurses_and_sailors(**groups)
    assert min(gap.p_value for gap in gaps(Sheet(answers), items, "exact")) < 0.01


def test_seeds_of_a_question_are_dealt_out_together() -> None:
    """Five questions each, one seed or three: the same p."""
    items, answers = nurses_and_sailors(nurse="11111", sailor="11100")
    often = [replace(answer, seed=seed) for answer in answers for seed in range(3)]
    assert gaps(Sheet(often), items, "exact") == gaps(Sheet(answers), items, "exact")
