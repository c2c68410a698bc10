"""Recipes: the paper's, what is refused before the teacher is asked, and the command."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.card import Card, save_card
from model.mode import Mode, Tags
from model.prompt import PromptForm
from tests import scripted_teacher
from tests.paper_form import PAPER_FORM
from tests.paper_sources import recipe, source, ultramedical, write_jsonl, write_sources
from tests.scripted_teacher import Script, ScriptedTeacher
from training.config import ConfigInvalid
from training.data.assign import assigned, assigned_rl, split
from training.data.cli import data_app
from training.data.recipe import Recipe, load_recipe
from training.items import Condition, Item, Kind, Trace
from training.rows import sft_rows

PAPER = Path(__file__).parents[1] / "configs" / "data-paper.toml"
runner = CliRunner()


@pytest.fixture(scope="module")
def teacher() -> Iterator[ScriptedTeacher]:
    yield from scripted_teacher.running()


def run(path: Path, *options: str) -> tuple[int, str]:
    """Exit status, and all output in one line."""
    done = runner.invoke(data_app, ["build", str(path), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, " ".join(done.output.split())


def test_the_papers_recipe_has_the_papers_quotas() -> None:
    read = load_recipe(PAPER)
    sft = sum(source.sft_general + source.sft_personalized for source in read.sources)
    assert sft == 8_000
    assert {source.title: source.rl for source in read.sources if source.quota} == {
        "ultramedical": 3_000,
        "flan": 5_998,
        "alignx": 1_000,
    }
    assert {test_set.name for test_set in read.test_sets} == {
        "MMLU-Pro",
        "SuperGPQA",
        "TriviaQA",
        "PubMedQA",
        "MATH500",
    }


def test_the_command_builds_and_asks_only_behind_a_good_recipe(
    tmp_path: Path, teacher: ScriptedTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = teacher.script = Script(keys={"drug number": "B"})
    write_sources(tmp_path)
    medical = source(tmp_path, "ultramedical.parquet", "sft_personalized = 3\nrl = 2")
    path = recipe(tmp_path, teacher.url, medical, teacher='api_key_env = "OUR_TEACHER_KEY"')
    monkeypatch.delenv("OUR_TEACHER_KEY", raising=False)
    status, said = run(path)
    assert (status, script.asked) == (1, [])
    assert "teacher.api_key_env: the variable OUR_TEACHER_KEY is not set" in said
    monkeypatch.setenv("OUR_TEACHER_KEY", "very-secret")
    status, said = run(path)
    assert status == 0
    assert "ultramedical kept sft personalized 3 of 3" in said
    assert "BUILD.md" in said
    assert "very-secret" not in said
    assert set(script.authorization) == {"Bearer very-secret"}
    assert not any(b"very-secret" in file.read_bytes() for file in (tmp_path / "out").iterdir())


def test_a_quota_that_is_not_met_is_one_line_and_status_1(
    tmp_path: Path, teacher: ScriptedTeacher
) -> None:
    teacher.script = Script(keys={"drug number": "D"})
    write_sources(tmp_path)
    medical = source(tmp_path, "ultramedical.parquet", "sft_personalized = 3\nrl = 2")
    path = recipe(tmp_path, teacher.url, medical)
    status, said = run(path)
    assert status == 1
    assert "3 short of the quotas: ultramedical, sft personalized (0 of 3); --allow-short" in said
    assert (tmp_path / "out" / "BUILD.md").exists()
    status, said = run(path, "--allow-short")
    assert status == 0
    assert "3 short of the quotas" in said


def test_a_source_without_usable_rows_says_why(tmp_path: Path, teacher: ScriptedTeacher) -> None:
    teacher.script = Script()
    write_sources(tmp_path)
    rows = [ultramedical(1, answer="Rest."), ultramedical(2, answer=None), ultramedical(3)]
    write_jsonl(tmp_path / "ultramedical.jsonl", rows)
    medical = source(tmp_path, "ultramedical.jsonl", "rl = 2")
    status, said = run(recipe(tmp_path, teacher.url, medical))
    assert status == 1
    assert (
        "has 1 usable questions, but its quotas ask for 2; 1 x no answer to check; 1 x no" in said
    )
    assert not teacher.script.asked


def test_the_command_belongs_to_personadual() -> None:
    found = entry_points(group="personadual.commands", name="data")
    assert [one.load() for one in found] == [data_app]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("timeout_s", "time_out", "teacher.time_out: Extra inputs are not permitted"),
        ('kind = "flan"', 'kind = "flam"', "sources.1.kind"),
        ("rl = 4", "rl = -4", "sources.2.rl"),
        ("sft_personalized = 5", "sft_general = 5", "sources.3: sft_general"),
        ("flan.jsonl", "flam.jsonl", "sources.1.files"),
        ("persona.jsonl", "people.jsonl", "personas.files"),
        ("test.jsonl", "*.none", "test_sets.0.files"),
        ("http://", "ftp://", "teacher.url: must be an http"),
        ("http://", "http://me:pw@", "must hold no credentials"),
        ("validation = 0.2", "validation = 1.2", "validation"),
        ('kind = "flan"', 'kind = "flan"\nname = "alignx"', "two have the same name"),
        ("rl = 8", "rl = 80", "source ultramedical has 30 usable questions, but its quotas ask"),
        ("validation = 0.2", 'validation = 0.2\nmodel = "nowhere"', "model: nowhere is not there"),
        ("[teacher]", "[teacher", "is not TOML"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line_and_nobody_is_asked(
    tmp_path: Path, teacher: ScriptedTeacher, old: str, new: str, said: str
) -> None:
    teacher.script = Script()
    write_sources(tmp_path)
    path = recipe(tmp_path, teacher.url)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    status, output = run(path)
    assert status == 1
    assert said in output
    assert output.startswith("personadual:")
    assert not teacher.script.asked


def test_a_wrong_row_is_told_before_anybody_is_asked(
    tmp_path: Path, teacher: ScriptedTeacher
) -> None:
    teacher.script = Script()
    write_sources(tmp_path)
    write_jsonl(tmp_path / "ultramedical.jsonl", [ultramedical(1), {"id": "x"}])
    path = recipe(tmp_path, teacher.url, source(tmp_path, "ultramedical.jsonl", "rl = 1"))
    status, said = run(path)
    assert status == 1
    assert "ultramedical.jsonl, line 2: conversations: is missing" in said
    assert not teacher.script.asked


def test_a_recipe_that_is_not_there_and_rows_of_two_kinds(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    parts = {"out": "x", "teacher": {"url": "http://x", "model": "m"}}
    sources = [{"kind": "flan", "files": ["x"], "datasets": "y"}]
    with pytest.raises(ValueError, match="either files or datasets"):
        Recipe.model_validate({**parts, "sources": sources, "personas": {"files": ["x"]}})


def test_prompt_and_tags_are_those_of_the_card(tmp_path: Path, teacher: ScriptedTeacher) -> None:
    import pyarrow.parquet as parquet

    teacher.script = Script(keys={"drug number": "B"})
    write_sources(tmp_path)
    tags = Tags("<G>\n", "<P>\n")
    save_card(Card(tags=tags, prompt=PAPER_FORM), tmp_path)
    medical = source(tmp_path, "ultramedical.parquet", "sft_personalized = 5")
    assert run(recipe(tmp_path, teacher.url, medical, top=f'model = "{tmp_path}"'))[0] == 0
    for row in parquet.read_table(tmp_path / "out" / "sft-train.parquet").to_pylist():
        assert row["completion"].startswith("<P>\n")
        assert row["prompt"][0]["content"].startswith("I am a patient teacher of this very subject")


def item(number: int, mode: Mode, kind: Kind = Kind.OBJECTIVE) -> Item:
    return Item(
        id=f"s-{number}",
        kind=kind,
        topic="s/t",
        entity=str(number // 2),
        is_hard=False,
        mode=mode,
        question="Why?",
        answers=["A"],
        match="mcq",
        personas={Condition.ALIGNED: "one", Condition.UNALIGNED: "two"},
        traces={mode: Trace("So.", "A")},
    )


def test_the_shares_are_exact() -> None:
    general = [item(number, Mode.GENERAL) for number in range(101)]
    personal = [item(number, Mode.PERSONALIZED, Kind.PERSONALIZED) for number in range(101, 131)]
    conditions = [one.condition for one in assigned([*general, *personal], 1)]
    assert conditions.count(Condition.ALIGNED) == 51 + 30
    assert conditions.count(Condition.UNALIGNED) == 50
    conditions = [one.condition for one in assigned_rl([*general, *personal], 0.2, 1)]
    assert conditions.count(Condition.ALIGNED) == 51 + 30
    assert conditions.count(Condition.UNALIGNED) == 50
    assert conditions.count(Condition.NONE) == 20
    first, second = split([general, personal], 0.1, 1)
    held_out = {one.entity for one in [*first.validation, *second.validation]}
    # 131 items about 66 things; item 100 and 101 are about two.
    assert len(held_out) == 7
    assert not held_out & {one.entity for one in [*first.train, *second.train]}
    assert split([general], 0, 1)[0].validation == []


def test_items_with_one_trace_are_trained_in_their_own_mode_alone() -> None:
    items = [item(number, Mode.GENERAL) for number in range(50)]
    rows = list(sft_rows(items, PromptForm(), Tags(), seed=1, forced=0.9))
    assert len(rows) == 50
    assert not any(row.opening for row in rows)
