"""`personadual evaluate suite`: a public set becomes a suite, or it is said why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from tests import scripted_teacher
from tests.paper_sources import write_jsonl
from tests.public_sets import MAKERS, PERSONAL, fspo_roleplay, math500, mmlu_pro, pubmedqa, triviaqa
from tests.scripted_teacher import ScriptedTeacher
from training.evaluation.cli import evaluate_app
from training.evaluation.conditions import Shown
from training.evaluation.suites import load_suite
from training.items import Condition, Item


def plain(output: str) -> str:
    """What was printed, without line ends and frames."""
    return " ".join(output.replace("\u2502", " ").split())


class Desk:
    """Files to make suites of, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "suite.jsonl"
        self.people = folder / "persona.jsonl"
        write_jsonl(self.people, [{"persona": f"A keeper of {n} bees."} for n in range(50)])

    def rows(self, name: str, *rows: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.jsonl"
        write_jsonl(path, list(rows))
        return path

    def make(self, name: str, source: Path | str, *options: str, status: int = 0) -> str:
        told = [name, "--from", str(source), "--out", str(self.out), *options]
        if "--personas" not in options:
            told += ["--personas", str(self.people)]
        result = CliRunner().invoke(evaluate_app, ["suite", *told])
        assert result.exit_code == status, result.output
        return plain(result.output)

    @property
    def items(self) -> list[Item]:
        return load_suite(self.out, [Shown.NONE, Shown.UNALIGNED])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def teacher() -> Iterator[ScriptedTeacher]:
    yield from scripted_teacher.running()


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("mmlu-pro", mmlu_pro(1, options="A, B"), "options: must be a list of texts"),
        (
            "mmlu-pro",
            mmlu_pro(1, answer_index=2),
            "answer_index: is not the option that answer names",
        ),
        ("supergpqa", {"uuid": "1", "options": []}, "answer_letter: is missing"),
        ("triviaqa", triviaqa(1, answer="Writer"), "answer.value: must be text"),
        ("pubmedqa", pubmedqa(1, final_decision=7), "final_decision: must be text"),
        ("math500", {"problem": "1?", "answer": "1"}, "unique_id: is missing"),
        ("persona-feedback", {"question": "a"}, "chosen: is missing"),
        ("fspo-roleplay", fspo_roleplay(1, score_persona=None), "score_persona.persona_desc"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(
    desk: Desk, name: str, row: dict[str, Any], said: str
) -> None:
    source = desk.rows(name, MAKERS[name](9), row)
    assert f"{name}.jsonl, line 2: {said}" in desk.make(name, source, status=1)
    assert not desk.out.exists()


@pytest.mark.parametrize("name", MAKERS)
def test_a_suite_is_taken_by_evaluate(desk: Desk, name: str) -> None:
    """From parquet as the Hub has it; each item with an unaligned persona that is not its own."""
    table = pyarrow.Table.from_pylist([MAKERS[name](number) for number in range(12)])
    source = desk.folder / "rows-00000-of-00001.parquet"
    parquet.write_table(table, source)
    said = desk.make(name, desk.folder / "rows-*.parquet", "--limit", "5")
    assert f"{name} kept items 5 of 5" in said
    assert len(desk.items) == 5
    for item in desk.items:
        assert item.personas[Condition.UNALIGNED].startswith("a keeper of ")
    is_own = Condition.ALIGNED in desk.items[0].personas
    assert is_own == (name in PERSONAL)
    assert ("--conditions none,unaligned" in said) == (not is_own)


def test_the_same_seed_draws_the_same_whatever_the_order(desk: Desk) -> None:
    rows = [mmlu_pro(number) for number in range(40)]

    def drawn(rows: list[dict[str, Any]], seed: str) -> str:
        desk.make("mmlu-pro", desk.rows("mmlu", *rows), "--limit", "10", "--seed", seed)
        return desk.out.read_text()

    assert drawn(rows, "1") == drawn(rows[::-1], "1")
    assert drawn(rows, "1") != drawn(rows, "2")


def test_a_note_says_what_was_dropped_and_why(desk: Desk) -> None:
    rows = [triviaqa(1), triviaqa(1), triviaqa(2, answer={"value": "<unk>", "aliases": []})]
    said = desk.make("triviaqa", desk.rows("trivia", *rows), "--limit", "3")
    assert "2 fewer items than asked for" in said
    note = desk.out.with_suffix(".md").read_text()
    for line in ("items | 1 of 3", "dropped | duplicate | 1", "dropped | no answer to check | 1"):
        assert line in note
    made_of = json.loads(note.partition("```json\n")[2].partition("\n```")[0])
    assert made_of["personas"] == {"aligned": "none", "unaligned": str(desk.people)}
    assert made_of["from"] == {"files": [str(desk.folder / "trivia.jsonl")]}


def test_aligned_personas_are_written_by_a_teacher(desk: Desk, teacher: ScriptedTeacher) -> None:
    """From the question alone; what it cannot write leaves its item out; nothing is asked twice."""
    script = teacher.script = scripted_teacher.Script()
    script.trouble = {"volume 3": ["no tags"] * 3}
    source = desk.rows("trivia", *(triviaqa(number) for number in range(8)))
    options = ("--limit", "8", "--teacher", teacher.url, "--teacher-model", "scripted")
    said = desk.make("triviaqa", source, *options)
    assert "aligned persona: no <persona> 1" in said
    assert len(desk.items) == 7
    for item in load_suite(desk.out, list(Shown)):
        assert item.personas[Condition.ALIGNED] == "a patient teacher of this very subject"
    assert not any("Writer" in prompt for prompt in script.asked)
    count = len(script.asked)
    desk.make("triviaqa", source, *options)
    assert len(script.asked) == count


def test_a_teacher_that_refuses_is_told_by_its_options(
    desk: Desk, teacher: ScriptedTeacher
) -> None:
    """There is no recipe here. Its address may be named without /v1, as that of `--url`."""
    script = teacher.script = scripted_teacher.Script(always=401)
    bare = teacher.url.removesuffix("/v1")
    options = ("--teacher", bare, "--teacher-model", "scripted", "--limit", "1")
    said = desk.make("triviaqa", desk.rows("trivia", triviaqa(1)), *options, status=1)
    assert said.endswith("model scripted: see --teacher, --teacher-model and --api-key")
    assert len(script.asked) == 1


def test_a_reasoning_teacher_is_asked_plainly(desk: Desk, teacher: ScriptedTeacher) -> None:
    """One that takes no temperature: the refusal names the option, and with it all goes well."""
    script = teacher.script = scripted_teacher.Script()
    script.refuses = frozenset({"temperature", "max_tokens"})
    source = desk.rows("trivia", triviaqa(1))
    options = ("--limit", "1", "--teacher", teacher.url, "--teacher-model", "scripted")
    assert "--teacher-model and --plain" in desk.make("triviaqa", source, *options, status=1)
    desk.make("triviaqa", source, *options, "--plain")
    assert len(desk.items) == 1
    assert not script.refuses & set(script.bodies[-1])


def test_a_set_lends_its_own_personas_to_its_other_items(desk: Desk) -> None:
    source = desk.rows("fspo", *(fspo_roleplay(number) for number in range(10)))
    desk.make("fspo-roleplay", source, "--personas", "own")
    for item in desk.items:
        assert item.personas[Condition.UNALIGNED] != item.personas[Condition.ALIGNED]
        assert item.personas[Condition.UNALIGNED].startswith("a climber")
    alone = desk.rows("fspo", fspo_roleplay(1))
    assert "too few" in desk.make("fspo-roleplay", alone, "--personas", "own", status=1)


def test_a_copy_with_other_columns_is_read_by_their_names(desk: Desk) -> None:
    row = {"q": "Tea?", "persona": "A monk.", "good": "Green.", "rejected": "Black."}
    source = desk.rows("feedback", row)
    columns = ("--column", "question=q", "--column", "chosen=good")
    desk.make("persona-feedback", source, *columns)
    assert desk.items[0].question.startswith("Tea?")
    wrong = desk.make("persona-feedback", source, "--column", "question=other", status=1)
    assert "line 1: other: is missing" in wrong
    assert "OWN=THEIRS" in desk.make("persona-feedback", source, "--column", "q", status=2)


def test_a_data_set_by_name_is_read_like_a_file(desk: Desk) -> None:
    """`datasets` takes a folder for a name, as it takes one of the Hub."""
    (desk.folder / "hub").mkdir()
    write_jsonl(desk.folder / "hub" / "test.jsonl", [mmlu_pro(number) for number in range(3)])
    desk.make("mmlu-pro", desk.folder / "hub")
    assert len(desk.items) == 3
    assert "cannot be loaded" in desk.make("mmlu-pro", f"{desk.folder / 'hub'}::none", status=1)


def test_what_cannot_be_made_is_said(desk: Desk) -> None:
    assert "choose from mmlu-pro" in desk.make("mmlu", "x.jsonl", status=2)
    assert "cannot be read" in desk.make("mmlu-pro", "nowhere.jsonl", status=1)
    assert "no row can be used (it is empty)" in desk.make("math500", desk.rows("m"), status=1)
    told = ("math500", desk.rows("m", math500(1)))
    blocked = ("--out", str(desk.people / "suite.jsonl"))
    assert "cannot be written" in desk.make(*told, *blocked, status=1)
    assert "is the source itself" in desk.make(*told, "--out", str(told[1]), status=2)
    assert "go together" in desk.make(*told, "--teacher", "http://127.0.0.1:9", status=2)
    odd = ("--teacher", "nowhere", "--teacher-model", "m")
    assert "url: must be" in desk.make(*told, *odd, status=2)
    result = CliRunner().invoke(evaluate_app, ["suite", "persona-feedback"])
    assert "no known location" in plain(result.output)
