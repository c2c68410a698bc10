"""Rows: the conditions of training and of evaluation, and items that lack a persona."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from model.mode import Mode, Tags
from model.prompt import PromptForm
from training.config import DualGrpoConfig, SftConfig
from training.evaluation.conditions import Shown
from training.evaluation.sheet import expected_mode
from training.items import Condition, DataInvalid, Item, load_items, save_items
from training.probe import open_probe
from training.rows import as_evaluated, asked_conditions, draw_condition, sft_conditions, sft_rows

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return load_items(HELD_OUT)[:300]


def test_what_is_watched_is_what_evaluation_scores(items: list[Item]) -> None:
    """A personal question without a persona is a general one, in both."""
    from tests.test_evaluation_measures import said

    found = as_evaluated(items)
    for item in items:
        shown = {one.condition: one.mode for one in found if one.item is item}
        scored = {
            Condition(condition.value): mode
            for condition in (Shown.NONE, Shown.ALIGNED, Shown.UNALIGNED)
            if (mode := expected_mode(said(item.id, condition, wanted=item.mode)))
        }
        assert shown == scored
    assert any(one.item.mode is Mode.PERSONALIZED and one.mode is Mode.GENERAL for one in found)


@pytest.mark.parametrize("only_mode", [None, *Mode])
@pytest.mark.parametrize("paired", [0.0, 1.0])
def test_every_condition_that_is_drawn_was_asked_for(
    items: list[Item], paired: float, only_mode: Mode | None
) -> None:
    """An item that has only the personas it was said to need makes its rows, whatever is drawn."""
    lean = [
        replace(
            item,
            personas={
                name: text
                for name, text in item.personas.items()
                if name in sft_conditions(item, 0.5, paired, only_mode)
            },
        )
        for item in items
    ]
    assert any(len(item.personas) < 2 for item in lean) == (only_mode is Mode.PERSONALIZED)
    for seed in range(5):
        list(
            sft_rows(
                lean,
                PromptForm(),
                Tags(),
                seed=seed,
                forced=0.5,
                paired=paired,
                only_mode=only_mode,
            )
        )
    for item in items:
        assert draw_condition(item, Random(1)) in asked_conditions(item)


def test_a_pair_differs_in_its_persona_alone(items: list[Item]) -> None:
    """Every general row under a drawn persona stands twice, and no row of the other mode does."""
    assert all(item.condition is None for item in items)
    alone = list(sft_rows(items, PromptForm(), Tags(), seed=1, forced=0.5))
    rows = list(sft_rows(items, PromptForm(), Tags(), seed=1, forced=0.5, paired=1.0))
    assert len(rows) > 1.4 * len(alone)
    pairs = 0
    for first, second in itertools.pairwise(rows):
        if first.completion == second.completion and first.opening == second.opening:
            (system, asked), (other, asked_again) = first.messages, second.messages
            assert asked == asked_again
            assert system != other, "no pair: the persona is the same"
            pairs += 1
    shown = [row for row in rows if len(row.messages) == 2]
    general = [row for row in shown if Tags().general in row.opening + row.completion]
    assert 2 * pairs == len(general)
    fixed = [replace(item, condition=Condition.ALIGNED) for item in items]
    for paired in (0.0, 1.0):
        found = list(sft_rows(fixed, PromptForm(), Tags(), seed=1, forced=0.0, paired=paired))
        assert len(found) == len(items), "an item that says its persona is shown under it alone"


def _sft(path: Path, tiny: Path, out: Path) -> None:
    from training.sft import rows

    rows(SftConfig(model=tiny, data=path, out=out), _tokenizer(tiny))


def _dual_grpo(path: Path, tiny: Path, out: Path) -> None:
    from model.card import Card
    from training.dual_grpo import rows

    rows(DualGrpoConfig(model=tiny, data=path, out=out), Card(), _tokenizer(tiny))


def _probe(path: Path, tiny: Path, out: Path) -> None:
    open_probe(SftConfig(model=tiny, data=path, out=out, probe=path), _tokenizer(tiny))


def _calibrate(path: Path, tiny: Path, _out: Path) -> None:
    from training.calibrate import calibrate

    calibrate(tiny, path, count=20, seed=1)


def _tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.mark.parametrize("use", [_sft, _dual_grpo, _probe, _calibrate])
@pytest.mark.parametrize("missing", [Condition.ALIGNED, Condition.UNALIGNED])
def test_an_item_without_a_persona_that_it_needs_is_named(
    use: Callable[[Path, Path, Path], None],
    missing: Condition,
    items: list[Item],
    tiny: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "items.jsonl"
    place = next(n for n, item in enumerate(items) if item.answers and item.mode is Mode.GENERAL)
    left = {name: text for name, text in items[place].personas.items() if name is not missing}
    save_items([*items[:place], replace(items[place], personas=left)], path)
    with pytest.raises(DataInvalid, match=rf"line {place + 1}: personas\.{missing}: the condition"):
        use(path, tiny, tmp_path / "out")
