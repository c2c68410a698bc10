"""Invariance: how far two answers are apart, what counts as a pair, and how pairs stay together."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from training.config import ConfigInvalid, SftConfig
from training.invariance import (
    IGNORED,
    InvariantSFTTrainer,
    PairSampler,
    divergence,
    same_reply,
)
from training.items import Condition, Kind, load_items, save_items
from training.ordered_trainer import OrderedSFTTrainer
from training.rows import side_by_side
from training.sft import rows, train

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"


def test_the_divergence_of_two_guesses() -> None:
    """(0.75, 0.25) against (0.25, 0.75): both divergences are 0.5 ln 3; of equals it is 0."""
    one, other = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert divergence(one, other).item() == pytest.approx(0.5493061, abs=1e-6)
    assert divergence(other, one).item() == pytest.approx(0.5493061, abs=1e-6)
    assert divergence(one, one).item() == 0.0
    # (0.9, 0.1) and (0.5, 0.5): 0.368064 and 0.510826 nats, and the mean of both.
    skewed, even = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert divergence(skewed, even).item() == pytest.approx(0.4394449, abs=1e-6)


def test_pairs_stand_together_and_the_others_by_length() -> None:
    rows = ["dddd", "pair one", "pair two", "a", "ccc", "other one", "other two", "bb", "eeeee"]
    twins = [False, False, True, False, False, False, True, False, False]
    found = side_by_side(rows, twins, len)
    assert found[:4] == ["pair one", "pair two", "other one", "other two"]
    assert found[4:] == ["a", "bb", "ccc", "dddd"], "an odd one is left out"


@pytest.mark.parametrize("count", [2, 6, 40])
@pytest.mark.parametrize("batch_size", [2, 4])
def test_what_stands_side_by_side_is_drawn_together(count: int, batch_size: int) -> None:
    """Each row once an epoch; in a pass no pair is parted, and epochs differ in their order."""
    epochs = []
    for epoch in (0, 1):
        lengths = [9 + row % 5 for row in range(count)]
        sampler = PairSampler(batch_size, lengths=lengths, seed=1, epoch=partial(int, epoch))
        drawn = list(sampler)
        assert (sorted(drawn), len(sampler)) == (list(range(count)), count)
        for at in range(0, count, 2):
            assert (drawn[at] % 2, drawn[at + 1]) == (0, drawn[at] + 1)
        epochs.append(drawn)
    assert count < 40 or epochs[0] != epochs[1]


def test_a_pair_is_two_rows_with_one_reply() -> None:
    """Whatever stands before it: a longer persona moves the reply."""
    no = IGNORED
    labels = torch.tensor(
        [
            [no, 5, 6, no],
            [no, no, 5, 6],
            [no, 5, 6, no],  # of the next two: the reply of the pair before stands beside another
            [no, 5, 7, no],
            [no, 5, 6, 7],
            [no, 5, 6, no],
        ]
    )
    assert same_reply(labels) == [0]
    assert same_reply(labels[:1]) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"invariance": 1.0}, "needs paired"),
        ({"invariance": 1.0, "paired": 0.5, "only_mode": "general"}, "no only_mode"),
        ({"invariance": 1.0, "paired": 0.5, "batch_size": 3}, "even batch_size"),
        ({"invariance": -1.0, "paired": 0.5}, "greater than or equal to 0"),
    ],
)
def test_what_has_no_pairs_in_a_pass_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SftConfig(model=Path("m"), data=Path("d"), out=Path("o"), **options)


@pytest.fixture
def config(sharp: Path, tmp_path: Path) -> SftConfig:
    """Questions of fact alone, each under both of its personas where one is drawn."""
    data = tmp_path / "items.jsonl"
    items = [item for item in load_items(HELD_OUT) if item.kind is Kind.OBJECTIVE]
    save_items(items[:16], data)
    return SftConfig(
        model=sharp,
        data=data,
        out=tmp_path / "run",
        use_cpu=True,
        rows=4,
        batch_size=4,
        epochs=4,
        learning_rate=1e-2,
        max_length=320,
        forced=0.0,
        paired=1.0,
        invariance=0.5,
        lora_rank=4,
    )


def test_items_that_all_say_their_persona_are_refused(config: SftConfig) -> None:
    """Each stands under that one alone: there would be no pair in the whole run."""
    from transformers import AutoTokenizer

    fixed = [replace(item, condition=Condition.ALIGNED) for item in load_items(config.data)]
    save_items(fixed, config.data)
    with pytest.raises(ConfigInvalid, match="no general row stands under both personas"):
        rows(config, AutoTokenizer.from_pretrained(config.model))


def test_a_row_whose_twin_is_too_long_is_alone(config: SftConfig) -> None:
    """It is not taken for the twin of whatever row stands before it, and parts no pair."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(config.model)
    items = load_items(config.data)
    for at, condition in ((2, Condition.UNALIGNED), (9, Condition.ALIGNED)):
        personas = {**items[at].personas, condition: "A very patient person. " * 100}
        items[at] = replace(items[at], personas=personas)
    whole = rows(config, tokenizer)
    save_items(items, config.data)
    found = rows(config, tokenizer)
    assert len(found) < len(whole), "no row was too long: this shows nothing"
    for one, other in zip(found[::2], found[1::2], strict=True):
        if one["completion"] != other["completion"]:
            # Both are alone: no row of the rest says the same.
            said = [row["completion"] for row in found]
            assert said.count(one["completion"]) == said.count(other["completion"]) == 1


def test_the_loss_is_that_of_trl_and_the_divergence(config: SftConfig) -> None:
    """In one pass: TRL's cross entropy, and the weight times the mean over all trained tokens."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(config.model)
    trainer = InvariantSFTTrainer(
        weight=0.5,
        model=str(config.model),
        args=SFTConfig(
            output_dir=str(config.out),
            per_device_train_batch_size=4,
            train_sampling_strategy="group_by_length",
            use_cpu=True,
            bf16=False,
            data_seed=1,
            report_to=[],
        ),
        train_dataset=Dataset.from_list(rows(config, tokenizer)),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    reference = OrderedSFTTrainer.compute_loss(trainer, trainer.model, dict(batch))
    loss = trainer.compute_loss(trainer.model, dict(batch))
    labels, logps = batch["labels"][:, 1:], trainer.model(batch["input_ids"]).logits.log_softmax(-1)
    apart = []
    for at in same_reply(labels):
        own, other = (logps[row, :-1][labels[row] != IGNORED] for row in (at, at + 1))
        apart.append(2 * divergence(own, other).sum())
    assert len(apart) == 2, "no pair was drawn: this shows nothing"
    wanted = reference + 0.5 * sum(apart) / (labels != IGNORED).sum()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert loss.item() > reference.item() + 1e-6
    halved = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=len(labels) * 1000)
    tokens = int((labels != IGNORED).sum())
    assert halved.item() == pytest.approx(loss.item() * tokens / (len(labels) * 1000), rel=1e-5)


def test_a_run_that_asks_for_it_gets_closer(config: SftConfig) -> None:
    """Than one that asks for next to nothing; both say how far apart the answers are."""
    ends = []
    for weight in (1e-9, 20.0):
        out = config.out / str(weight)
        train(config.model_copy(update={"invariance": weight, "out": out}), Console())
        lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
        logged = [line["invariance"] for line in lines if "invariance" in line]
        ends.append(logged[-1])
        assert (out / "invariance.png").exists()
    assert ends[1] < ends[0] / 2
