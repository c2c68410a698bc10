"""`train calibrate` and the log-odds that it reads, on a random model with the real tokenizer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from model.card import Card, load_card, save_card
from model.mode import Mode, Tags
from training.calibrate import _halves, calibrate
from training.cli import train_app
from training.items import Condition, DataInvalid, Item, load_items, save_items
from training.probe import mode_log_odds, parting_prompts, read_tag_ids
from training.rows import as_evaluated

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return load_items(HELD_OUT)


@pytest.fixture
def checkpoint(tiny: Path, tmp_path: Path) -> Path:
    """A copy, whose card may be written."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny, folder)
    save_card(replace(Card(), training={"recipe": "none"}), folder)
    return folder


def test_the_command_writes_the_card(checkpoint: Path, items: list[Item], tmp_path: Path) -> None:
    """The same again on the same items; and only on the last ones of the file."""
    data = tmp_path / "items.jsonl"
    save_items(items[:60], data)
    told = ["calibrate", str(checkpoint), str(data), "--count", "20"]
    result = typer.testing.CliRunner().invoke(train_app, told)
    assert result.exit_code == 0, result.output
    assert "expected calibration error" in result.output
    first = load_card(checkpoint)[0]
    assert first.calibration != Card().calibration
    assert first.training == {"recipe": "none"}
    save_items([*items[100:140], *items[40:60]], data)
    calibrate(checkpoint, data, count=20, seed=42)
    assert load_card(checkpoint)[0].calibration == first.calibration


def test_figures_of_another_calibration_are_not_kept(
    checkpoint: Path, items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`mode_agreement` and the like were measured with it; with the same one they still hold."""
    data = tmp_path / "items.jsonl"
    save_items(items[:20], data)
    figures = {"figures": {"mode_agreement": [0.9, 0.8, 1.0]}}
    save_card(replace(Card(), evaluation=figures), checkpoint)
    calibrate(checkpoint, data, count=20, seed=42)
    assert load_card(checkpoint)[0].evaluation == {}
    assert "its figures were measured with another calibration" in caplog.text
    caplog.clear()
    save_card(replace(load_card(checkpoint)[0], evaluation=figures), checkpoint)
    calibrate(checkpoint, data, count=20, seed=42)
    assert load_card(checkpoint)[0].evaluation == figures
    assert "another calibration" not in caplog.text


def test_a_choice_that_says_nothing_is_told(
    checkpoint: Path, items: list[Item], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A random model's choice leans to one side by chance; with the tags exchanged to the other."""
    data = tmp_path / "items.jsonl"
    save_items(items[:40], data)
    tags = Card().tags
    exchanged = Tags(general=tags.personalized, personalized=tags.general)
    is_told = []
    for card in (Card(), Card(tags=exchanged)):
        save_card(card, checkpoint)
        caplog.clear()
        told = ["calibrate", str(checkpoint), str(data), "--count", "40"]
        result = typer.testing.CliRunner().invoke(train_app, told)
        assert result.exit_code == 0, result.output
        is_told.append("choice does not tell the modes apart: each probability is" in caplog.text)
        assert ("slope 0.0010" in result.output) == is_told[-1]
    assert sorted(is_told) == [False, True]


def test_items_of_one_kind_are_refused_before_a_model_is_read(
    items: list[Item], tmp_path: Path
) -> None:
    """There is nothing to read here."""
    (tmp_path / "config.json").write_text("{}")
    facts = [item for item in items if item.mode is Mode.GENERAL]
    save_items(facts[:40], tmp_path / "items.jsonl")
    told = ["calibrate", str(tmp_path), str(tmp_path / "items.jsonl")]
    result = typer.testing.CliRunner().invoke(train_app, told)
    assert result.exit_code == 1
    with pytest.raises(DataInvalid, match="must ask for both modes"):
        calibrate(tmp_path, tmp_path / "items.jsonl", count=20, seed=1)


@pytest.mark.parametrize(("is_made", "said"), [(False, "is not there; "), (True, "holds no check")])
def test_a_folder_without_checkpoint_is_one_clear_line(
    tmp_path: Path, is_made: bool, said: str
) -> None:
    """And no hub is asked for it."""
    model = tmp_path / "typo"
    if is_made:
        model.mkdir()
    result = typer.testing.CliRunner().invoke(train_app, ["calibrate", str(model), str(HELD_OUT)])
    assert result.exit_code == 1
    assert result.output.startswith(f"personadual: {model} {said}")
    assert "of an adapter after personadual model export" in result.output
    assert len(result.output.splitlines()) == 1


def test_padding_changes_no_log_odds(tiny: Path, items: list[Item]) -> None:
    """Prompts of many lengths in one batch, or each alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    network = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tag_ids = read_tag_ids(tokenizer, Card())
    prompts = parting_prompts(as_evaluated(items[:5]), Card(), tokenizer)
    assert len({len(prompt) for prompt in prompts}) > 5
    alone = mode_log_odds(network, prompts, tag_ids, batch=1)
    together = mode_log_odds(network, prompts, tag_ids, batch=len(prompts))
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(one, 4) for one in alone}) > 5, "they differ from each other"


def test_the_halves_share_no_entity_and_no_prompt(items: list[Item]) -> None:
    """`data build` writes an item a second time, to be asked under no persona: evaluation asks it
    under every one anyway."""
    some = items[:60]
    clones = [
        replace(item, id=f"{item.id}/none", condition=Condition.NONE)
        for item in some
        if item.answers
    ]
    first, second = _halves([*some, *clones], seed=3)
    ids = {item.id for item in [*first, *second]}
    assert ids == {item.id for item in some}, "the clones were asked too, or an item was lost"
    assert not {item.entity for item in first} & {item.entity for item in second}
    assert abs(len(first) - len(second)) <= 10


def test_whoever_waits_hears_how_many_prompts_were_read(
    checkpoint: Path, items: list[Item], tmp_path: Path
) -> None:
    data = tmp_path / "items.jsonl"
    save_items(items[:20], data)
    heard: list[tuple[int, int]] = []
    calibrate(checkpoint, data, count=20, seed=1, note=lambda *told: heard.append(told))
    assert len(heard) > 2
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1]
