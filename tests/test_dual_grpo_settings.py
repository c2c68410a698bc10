"""What DualGRPO hands to TRL, and to which prompts it comes: nothing is trained here."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from model.card import Card, save_card
from model.mode import Tags
from training.cards import base_card, card_of
from training.config import ConfigInvalid, DualGrpoConfig, SftConfig, read_config
from training.dual_grpo import arguments, rewards, rows, train
from training.items import load_items, save_items
from training.probe import read_tag_ids

ROOT = Path(__file__).parents[1]
HELD_OUT = ROOT / "training" / "pocket" / "data" / "held_out.jsonl"


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> DualGrpoConfig:
    data = tmp_path / "items.jsonl"
    save_items([item for item in load_items(HELD_OUT) if item.answers][:20], data)
    return DualGrpoConfig(
        model=tiny,
        data=data,
        out=tmp_path / "run",
        use_cpu=True,
        prompts=2,
        batch_size=4,
        kl=0.07,
        temperature=0.55,
        max_prompt=256,
        max_response=77,
        lora_rank=4,
    )


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def test_trls_defaults_that_change_the_algorithm_are_set(config: DualGrpoConfig) -> None:
    """Design 5; read from TRL's own type, which may turn one value into another."""
    from trl import GRPOConfig

    found = GRPOConfig(**arguments(config, Card()))
    assert (found.beta, found.temperature, found.max_completion_length) == (0.07, 0.55, 77)
    assert found.scale_rewards == "none"
    assert found.use_bias_correction_kl is False
    assert found.loss_type == "dapo", "the mean over all tokens of a step"
    assert found.num_generations == 8
    assert found.generation_batch_size == 16
    assert found.gradient_accumulation_steps == 4


@pytest.mark.parametrize("generation", ["colocate", "server"])
def test_vllm_keeps_every_row_and_no_room_for_longer_ones(
    config: DualGrpoConfig, generation: str
) -> None:
    """TRL's default drops whole rows with their tags; vLLM's takes memory for the whole context."""
    from trl import GRPOConfig

    config = config.model_copy(update={"generation": generation, "server_url": "http://engine"})
    found = GRPOConfig(**arguments(config, Card()))
    assert found.use_vllm
    assert found.vllm_importance_sampling_correction
    assert found.vllm_importance_sampling_mode == "token_truncate"
    assert found.vllm_max_model_length == (256 + 77 if generation == "colocate" else None)


def test_a_right_answer_earns_nine_tenths_and_the_format_one(
    config: DualGrpoConfig, tokenizer: Any
) -> None:
    """The functions and TRL's weights together, in one order."""
    tags = Tags()
    replies = {
        f"{tags.general}It is.\n\n<answer>Rome</answer>": 1.0,
        f"{tags.personalized}It is.\n\n<answer>Oslo</answer>": 0.1,
        f"{tags.general}Rome": 0.9,
        "<answer>Oslo</answer>": 0.0,
    }
    ids = [tokenizer(reply)["input_ids"] for reply in replies]
    functions = rewards(tokenizer, Card(), read_tag_ids(tokenizer, Card()))
    columns: dict[str, Any] = {"answers": [["Rome"]] * 4, "match": ["text"] * 4}
    parts = [function(completion_ids=ids, **columns) for function in functions]
    weights = arguments(config, Card())["reward_weights"]
    summed = [
        sum(w * p for w, p in zip(weights, row, strict=True)) for row in zip(*parts, strict=True)
    ]
    assert summed == pytest.approx(list(replies.values()))


def test_prompts_over_the_limit_are_dropped_and_counted(
    config: DualGrpoConfig, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole or not at all; the order and the personas of the others stay."""
    whole = rows(config, Card(), tokenizer)
    lengths = [
        len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"])
        for row in whole
    ]
    limit = sorted(lengths)[12]
    caplog.set_level(logging.INFO, "personadual.training")
    found = rows(config.model_copy(update={"max_prompt": limit}), Card(), tokenizer)
    assert found == [row for row, n in zip(whole, lengths, strict=True) if n <= limit]
    assert f"{len(found)} prompts, {20 - len(found)} over the limit and dropped" in caplog.text


def test_fewer_prompts_than_a_step_takes_are_refused(
    config: DualGrpoConfig, tokenizer: Any
) -> None:
    """TRL would end after no step at all, and an untrained adapter would pass for a trained one."""
    said = r"20 prompts, and 0 over max_prompt = 256 .* a step takes prompts = 32"
    with pytest.raises(ConfigInvalid, match=said):
        rows(config.model_copy(update={"prompts": 32}), Card(), tokenizer)
    with pytest.raises(ConfigInvalid, match="0 prompts, and 20 over max_prompt = 16"):
        rows(config.model_copy(update={"max_prompt": 16}), Card(), tokenizer)


def test_sft_without_a_row_is_refused(config: DualGrpoConfig, tokenizer: Any) -> None:
    from training.sft import rows as sft_rows

    sft = SftConfig(model=config.model, data=config.data, out=config.out, max_length=16, forced=0)
    with pytest.raises(ConfigInvalid, match="20 of 20 are over max_length = 16"):
        sft_rows(sft, tokenizer)


def test_steps_that_cannot_be_shared_out_are_refused_before_a_model_is_read(
    config: DualGrpoConfig, tmp_path: Path
) -> None:
    """There is no model; and nothing was begun, so that the mended configuration may begin."""
    wrong = config.model_copy(update={"batch_size": 3, "model": tmp_path})
    with pytest.raises(ConfigInvalid, match="cannot be divided"):
        train(wrong, Console())
    assert not config.out.exists()


def test_a_base_without_a_card_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert card_of(tmp_path).tags == Card().tags
    assert caplog.text.count("no personadual.json with the checkpoint") == 1


def test_qwen3_does_not_think_by_itself(config: DualGrpoConfig) -> None:
    """Design 4.1: the same in SFT, in its card and so wherever that is read."""
    qwen = read_config(ROOT / "configs" / "qwen3-8b-sft.toml", SftConfig)
    assert base_card(qwen).chat_template_kwargs == {"enable_thinking": False}
    added = config.model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    told = arguments(added, base_card(added))["chat_template_kwargs"]
    assert told == {"enable_thinking": False}
    assert replace(base_card(added), chat_template_kwargs={}) == base_card(config)


def test_an_adapter_goes_on_with_its_own_prompts(config: DualGrpoConfig, tmp_path: Path) -> None:
    """Its base, which has no card, cannot say how. What the configuration says goes first."""
    save_card(Card(chat_template_kwargs={"enable_thinking": False, "style": "a"}), tmp_path)
    added = {"adapter": tmp_path, "chat_template_kwargs": {"style": "b"}}
    found = base_card(config.model_copy(update=added))
    assert found.chat_template_kwargs == {"enable_thinking": False, "style": "b"}
