"""Public sets in their real formats: what is asked, what is right, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.paper_sources import write_jsonl
from tests.public_sets import (
    MAKERS,
    OPTIONS,
    PERSONAL,
    fspo_roleplay,
    math500,
    mmlu_pro,
    pubmedqa,
    triviaqa,
)
from training.data.recipe import Rows
from training.data.sources import Skip
from training.evaluation.public import PUBLIC, items_of
from training.evaluation.readings import read_answer
from training.items import Condition, DataInvalid, Item, Kind

OBJECTIVE = [name for name in MAKERS if name not in PERSONAL]


def read(tmp_path: Path, name: str, *rows: dict[str, Any], **columns: str) -> list[Item | Skip]:
    path = tmp_path / f"{name}.jsonl"
    write_jsonl(path, list(rows))
    return list(items_of(name, Rows(files=(path,)), columns))


def one(tmp_path: Path, name: str, row: dict[str, Any]) -> Item:
    (found,) = read(tmp_path, name, row)
    assert isinstance(found, Item)
    return found


@pytest.mark.parametrize("name", OBJECTIVE)
def test_a_question_of_fact_is_asked_as_its_set_has_it(tmp_path: Path, name: str) -> None:
    """Each set is judged by its own key, and its right answer is right under both readings."""
    found = one(tmp_path, name, MAKERS[name](4))
    question, answers, match, said = {
        "mmlu-pro": ("rope?\nA. a lever\nB. a pulley\nC. a wedge", ["B"], "mcq", "B. a pulley"),
        "supergpqa": ("rope?\nA. a lever\nB. a pulley\nC. a wedge", ["B"], "mcq", "(B)"),
        "triviaqa": ("Who wrote volume 4?", ["Writer 4", "W. Number 4"], "text", "W. Number 4."),
        "pubmedqa": ("Does drug 4 help?\nA. yes\nB. no\nC. maybe", ["B"], "mcq", "B"),
        "math500": (r"of $1$?", [r"\frac{4}{7}"], "math", r"$\boxed{\dfrac47}$"),
    }[name]
    assert question in found.question
    assert (found.answers, found.match, found.kind) == (answers, match, Kind.OBJECTIVE)
    assert (found.personas, found.id.startswith(f"{name}-")) == ({}, True)
    assert read_answer(found, said).exact
    assert not read_answer(found, "A").exact


@pytest.mark.parametrize("name", PERSONAL)
def test_the_preferred_reply_is_right_and_stands_first_as_often_as_not(
    tmp_path: Path, name: str
) -> None:
    found = [one(tmp_path, name, MAKERS[name](number)) for number in range(20)]
    for number, item in enumerate(found):
        assert item.options[item.answers[0]] == f"Go climbing with group {number}."
        assert item.personas == {Condition.ALIGNED: f"a climber who trains {number} times a month"}
        assert item.kind is Kind.PERSONALIZED
    assert {item.answers[0] for item in found} == {"A", "B"}


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("mmlu-pro", mmlu_pro(1, options=[str(n) for n in range(11)]), "too many options"),
        ("mmlu-pro", mmlu_pro(1, answer="E", answer_index=4), "answer is no option"),
        ("mmlu-pro", mmlu_pro(1, options=["a lever", " "]), "no answer to check"),
        ("triviaqa", triviaqa(1, answer={"value": "<unk>", "aliases": []}), "no answer to check"),
        ("pubmedqa", pubmedqa(1, final_decision="unclear"), "no answer to check"),
        ("math500", math500(1, answer=" "), "no answer to check"),
        ("pubmedqa", pubmedqa(1, final_decision=None), "no text"),
        ("math500", math500(1, problem=None), "no text"),
        ("fspo-roleplay", fspo_roleplay(1, yl="Go climbing with group 1"), "nothing to choose"),
        (
            "fspo-roleplay",
            fspo_roleplay(1, score_persona={"persona_description": "I am "}),
            "no persona",
        ),
        (
            "fspo-roleplay",
            fspo_roleplay(1, score_persona={"persona_description": "talker " * 2000}),
            "persona too long",
        ),
    ],
)
def test_what_cannot_be_judged_is_skipped_with_a_reason(
    tmp_path: Path, name: str, row: dict[str, Any], reason: str
) -> None:
    (found,) = read(tmp_path, name, row)
    assert isinstance(found, Skip)
    assert found.reason == reason


def test_options_that_only_fill_up_are_left_out(tmp_path: Path) -> None:
    """Version 1.1 of MMLU-Pro has ten options everywhere."""
    found = one(tmp_path, "mmlu-pro", mmlu_pro(1, options=[*OPTIONS, *["N/A"] * 6]))
    assert list(found.options) == ["A", "B", "C", "D"]


def test_every_set_of_the_paper_is_there_with_its_number() -> None:
    assert {name: found.items for name, found in PUBLIC.items()} == {
        "mmlu-pro": 1000,
        "supergpqa": 1000,
        "triviaqa": 1000,
        "pubmedqa": 1000,
        "math500": 500,
        "persona-feedback": 1000,
        "fspo-roleplay": 1500,
    }
    with pytest.raises(DataInvalid):
        list(items_of("math500", Rows(files=(Path("nowhere.json"),)), {}))
