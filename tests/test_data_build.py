"""A whole build over real HTTP: quotas, traces, personas, splits, files, and what is dropped."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as parquet
import pytest
from rich.console import Console

from model.mode import Mode, Tags
from model.prompt import PromptForm
from model.reply import parse_reply
from tests import paper_sources, scripted_teacher
from tests.paper_sources import ANSWER, recipe, source, write_sources
from tests.scripted_teacher import Script, ScriptedTeacher
from training.data.build import BARREN, Built, build, read_input
from training.data.recipe import load_recipe
from training.data.teacher import TeacherFailed
from training.items import Condition, Kind, load_items, messages
from training.rewards import matches
from training.rows import draw_condition, sft_rows

Build = Callable[..., Built]


@pytest.fixture(scope="module")
def teacher() -> Iterator[ScriptedTeacher]:
    yield from scripted_teacher.running()


@pytest.fixture
def script(teacher: ScriptedTeacher) -> Script:
    """A teacher that knows every answer."""
    keys = {"drug number": ANSWER, "heaviest": "B"}
    keys |= {f"Calculate {n} + {n}.": str(2 * n) for n in range(99, 0, -1)}
    keys |= {f"volume number {n}?": f"Writer Number{n}" for n in range(99, 0, -1)}
    keys |= {"B. Go climbing": "B", "A. Go climbing": "A"}
    teacher.script = Script(keys=keys)
    return teacher.script


@pytest.fixture
def run(tmp_path: Path, teacher: ScriptedTeacher, script: Script) -> Build:
    """Build over small sources."""
    write_sources(tmp_path)

    def once(*, again: bool = False, **parts: str) -> Built:
        read = load_recipe(recipe(tmp_path, teacher.url, **parts))
        console = Console(file=io.StringIO())
        return asyncio.run(build(read, read_input(read), "secret-key", console, again=again))

    return once


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return parquet.read_table(folder / "out" / name).to_pylist()


def test_the_quotas_are_met_and_the_files_say_the_same(run: Build, tmp_path: Path) -> None:
    built = run()
    assert built.ledger.kept == +built.ledger.wanted
    assert built.ledger.short() == 0
    sft = load_items(tmp_path / "out/items.jsonl") + load_items(
        tmp_path / "out/items-validation.jsonl"
    )
    wanted = {
        ("ultramedical", Mode.GENERAL): 4,
        ("ultramedical", Mode.PERSONALIZED): 4,
        ("flan", Mode.GENERAL): 6,
        ("flan", Mode.PERSONALIZED): 3,
        ("alignx", Mode.PERSONALIZED): 5,
    }
    assert Counter((item.topic.partition("/")[0], item.mode) for item in sft) == wanted
    made = rows(tmp_path, "sft-train.parquet") + rows(tmp_path, "sft-validation.parquet")
    assert {row["item_id"] for row in made} == {item.id for item in sft}
    assert len(made) == len(sft) == 22


def test_every_trace_is_a_reply_that_leads_to_the_key(run: Build, tmp_path: Path) -> None:
    run()
    tags = Tags()
    items = {item.id: item for item in load_items(tmp_path / "out/items.jsonl")}
    for row in rows(tmp_path, "sft-train.parquet"):
        item = items[row["item_id"]]
        reply = parse_reply(row["completion"])
        assert reply.is_complete
        assert reply.mode == row["mode"] == item.mode
        assert row["completion"].startswith(tags[item.mode])
        assert matches(reply.answer, item.answers, item.match)
        if item.mode is Mode.PERSONALIZED:
            assert set(item.traces) == set(Mode)


def test_the_personas_stand_where_the_paper_puts_them(run: Build, tmp_path: Path) -> None:
    """Half of the general rows under each; personalised rows under the aligned one; RL with none
    too."""
    run(top="no_persona = 0.5")
    kept = [
        row for side in ("train", "validation") for row in rows(tmp_path, f"sft-{side}.parquet")
    ]
    sft = Counter((row["mode"], row["condition"]) for row in kept)
    # Each side and source is halved; an odd one has one more that is aligned.
    assert sft["personalized", "aligned"] == 12
    assert abs(sft["general", "aligned"] - sft["general", "unaligned"]) <= 4
    assert sum(sft.values()) == 22
    train = rows(tmp_path, "rl-train.parquet")
    rl = Counter((row["kind"], row["condition"]) for row in train)
    objective = rl["objective", "aligned"] + rl["objective", "unaligned"]
    assert abs(rl["objective", "aligned"] - rl["objective", "unaligned"]) <= 3
    assert rl["objective", "none"] == round(0.5 * objective)
    assert set(rl) <= {("objective", condition.value) for condition in Condition} | {
        ("personalized", "aligned")
    }
    for row in train:
        text = " ".join(message["content"] for message in row["prompt"])
        is_bee = "a keeper of" in text
        assert is_bee == (row["condition"] == "unaligned")
        assert ("what we know about the user" in text) == (row["condition"] != "none")
        assert isinstance(row["answers"], list)
        assert row["match"]
        assert row["mode"] == ("general" if row["kind"] == Kind.OBJECTIVE else "personalized")


def test_our_trainer_trains_the_rows_of_the_parquet(run: Build, tmp_path: Path) -> None:
    """The same prompts and replies, under the same personas: the build's shares are the paper's."""
    run(top="no_persona = 0.5")
    items = load_items(tmp_path / "out" / "items.jsonl")
    trained = sft_rows(items, PromptForm(), Tags(), seed=7, forced=0.0)
    made = rows(tmp_path, "sft-train.parquet")
    assert [(row.messages, row.completion) for row in trained] == [
        (row["prompt"], row["completion"]) for row in made
    ]
    asked = load_items(tmp_path / "out" / "rl-items.jsonl")
    drawn = [messages(item, draw_condition(item, Random(7)), PromptForm()) for item in asked]
    assert drawn == [row["prompt"] for row in rows(tmp_path, "rl-train.parquet")]
    assert {item.condition for item in asked} == set(Condition)


def test_the_split_shares_no_item_and_no_entity(run: Build, tmp_path: Path) -> None:
    run()
    out = tmp_path / "out"
    train, held_out = (
        load_items(out / f"items{side}.jsonl") + load_items(out / f"rl-items{side}.jsonl")
        for side in ("", "-validation")
    )
    assert held_out
    bare = [item for item in [*train, *held_out] if item.condition is Condition.NONE]
    assert len(train) + len(held_out) - len(bare) == 22 + 21
    assert not {item.entity for item in train} & {item.entity for item in held_out}
    for stage in ("sft", "rl"):
        sides = [rows(tmp_path, f"{stage}-{side}.parquet") for side in ("train", "validation")]
        ids = [{row["item_id"] for row in side} for side in sides]
        assert not ids[0] & ids[1]


def test_a_personalised_trace_needs_a_teacher_that_is_right_by_itself(
    run: Build, script: Script, tmp_path: Path
) -> None:
    for number in range(1, 11):
        script.keys = {f"patient of {number} years": "D", **script.keys}
    built = run(sources=source(tmp_path, "ultramedical.parquet", "sft_personalized = 18"))
    assert built.ledger.kept["ultramedical", "sft personalized"] == 18
    wrong = built.ledger.dropped["ultramedical", "wrong without the key"]
    assert wrong
    kept = load_items(tmp_path / "out/items.jsonl")
    assert all(int(item.question.split()[3]) > 10 for item in kept)
    keyed = [prompt for prompt in script.asked if "The right answer is" in prompt]
    assert not any("patient of 7 years" in prompt for prompt in keyed)


def test_without_enough_right_answers_the_shortfall_is_told(
    run: Build, script: Script, tmp_path: Path
) -> None:
    script.keys = {"patient of 3 years": ANSWER, "drug number": "D"}
    built = run(sources=source(tmp_path, "ultramedical.parquet", "sft_personalized = 5\nrl = 1"))
    assert built.ledger.kept["ultramedical", "sft personalized"] <= 1
    assert built.ledger.short() >= 4
    report = built.report.read_text(encoding="utf-8")
    assert "| ultramedical | dropped | wrong without the key | " in report


def test_a_stage_leaves_the_later_ones_their_questions(
    run: Build, script: Script, tmp_path: Path
) -> None:
    """A teacher that is never right by itself gets no personalised trace, but writes personas."""
    script.keys = {"drug number": "D"}
    quotas = "sft_personalized = 15\nrl = 6"
    built = run(sources=source(tmp_path, "ultramedical.parquet", quotas))
    assert built.ledger.kept == {("ultramedical", "sft personalized"): 0, ("ultramedical", "rl"): 6}
    assert built.ledger.dropped["ultramedical", "wrong without the key"] == 24


def test_a_stage_from_which_nothing_comes_ends_early(
    run: Build, script: Script, tmp_path: Path
) -> None:
    """At the same question every time, and the second time nothing is asked."""
    write_sources(tmp_path, BARREN + 100)
    script.keys = {f"patient of {n} years": "D" for n in range(1, BARREN + 101) if n % 100}
    script.keys["drug number"] = ANSWER
    quotas = "sft_personalized = 250\nrl = 2"
    built = run(sources=source(tmp_path, "ultramedical.parquet", quotas))
    tried = built.ledger.dropped["ultramedical", "wrong without the key"]
    kept = built.ledger.kept["ultramedical", "sft personalized"]
    assert BARREN <= tried < BARREN + 98
    assert kept < 4
    assert built.ledger.kept["ultramedical", "rl"] == 2
    script.asked = []
    again = run(sources=source(tmp_path, "ultramedical.parquet", quotas))
    assert again.ledger == built.ledger
    assert not script.asked


def test_the_report_says_what_was_built_and_nothing_of_a_persona(
    run: Build, tmp_path: Path
) -> None:
    built = run(teacher="usd_per_million_completion_tokens = 1000.0\nextra = {secret = 'hush'}")
    report = built.report.read_text(encoding="utf-8")
    assert "Seed 42; teacher scripted; python 3." in report
    assert f"{built.meter.usd(load_recipe(tmp_path / 'recipe.toml').teacher):.2f} USD" in report
    assert built.meter.completion_tokens == 5 * built.meter.replies
    assert "| flan | kept | sft general | 6 of 6 |" in report
    for hidden in ("secret-key", "hush", "bees", "climber", "patient teacher"):
        assert hidden not in report


def test_no_more_requests_at_once_than_allowed(run: Build, script: Script) -> None:
    run(teacher="concurrency = 3")
    assert script.most_at_once == 3
    assert set(script.authorization) == {"Bearer secret-key"}


def test_a_teacher_from_which_nothing_comes_ends_the_build(
    run: Build, script: Script, tmp_path: Path
) -> None:
    script.always = "I would rather not."
    with pytest.raises(TeacherFailed, match="nothing could be kept") as failed:
        run(sources=source(tmp_path, "flan.jsonl", "rl = 3"))
    assert "no <persona>" in failed.value.message
    assert not (tmp_path / "out" / "BUILD.md").exists()
    assert "temperature" not in failed.value.message
    assert paper_sources.ANSWER not in failed.value.message


def test_a_build_of_fewer_requests_than_end_it_names_what_may_be_refused(
    run: Build, script: Script, tmp_path: Path
) -> None:
    script.refuses = frozenset({"temperature"})
    with pytest.raises(TeacherFailed, match=r"kept \(refused\).*max_tokens and temperature"):
        run(sources=source(tmp_path, "flan.jsonl", "rl = 3"), teacher="give_up_after = 99")
