"""DualGRPO: reinforcement of both modes and of the choice between them (design 5).

Prompts go to TRL as messages, so that the checkpoint's own chat template is applied once. Those
over the limit are dropped, not cut. Rewards read the reply as the gateway would.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from model.card import Card, save_card
from model.mode import TagIds
from training import cpu, processes
from training.begun import CHECKPOINTS, begin
from training.cards import base_card
from training.checkpoints import last_complete, lora, open_network, shrink
from training.config import ConfigInvalid, DualGrpoConfig
from training.hardware import require_hardware
from training.items import load_items, messages, require_personas
from training.probe import open_probe, read_tag_ids
from training.report import trained_card, write_run
from training.rewards import WEIGHTS, Judged, judge
from training.rollouts import mode_of
from training.rows import asked_conditions, draw_condition

logger = logging.getLogger("personadual.training")


def rows(config: DualGrpoConfig, card: Card, tokenizer: Any) -> list[dict[str, Any]]:
    """Prompts with what their answers are judged by.

    A fact is asked under one condition drawn for it, none among them; a personal question under
    its own persona. Chat turns have no right answer and are left out.

    Raises:
        ConfigInvalid: too few for a step are short enough.
        DataInvalid: the data cannot be read, or an item lacks a persona.
    """
    rng = random.Random(config.seed)
    whole = load_items(config.data)
    require_personas(whole, config.data, asked_conditions)
    items = [item for item in whole if item.answers]
    rng.shuffle(items)
    found: list[dict[str, Any]] = []
    for item in items[: config.max_items]:
        asked = messages(item, draw_condition(item, rng), card.prompt)
        ids = tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, return_dict=True, **card.chat_template_kwargs
        )["input_ids"]
        if len(ids) <= config.max_prompt:
            found.append({"prompt": asked, "answers": item.answers, "match": item.match})
    dropped = len(items[: config.max_items]) - len(found)
    if len(found) < config.prompts:
        raise ConfigInvalid(
            f"{config.data}: {len(found)} prompts, and {dropped} over max_prompt ="
            f" {config.max_prompt} tokens and dropped; a step takes prompts = {config.prompts}"
        )
    logger.info("%d prompts, %d over the limit and dropped", len(found), dropped)
    return found


def rewards(tokenizer: Any, card: Card, tag_ids: TagIds) -> list[Callable[..., list[float]]]:
    """The parts of the reward, each 0 or 1 per rollout; `WEIGHTS` weighs them."""

    def read(completion_ids: list[list[int]], columns: dict[str, Any]) -> list[Judged]:
        found = []
        for ids, answers, match in zip(
            completion_ids, columns["answers"], columns["match"], strict=True
        ):
            # The tag is read by its ids: a tokenizer may drop an added token from the text.
            mode = mode_of(ids, tag_ids)
            behind = ids[len(tag_ids[mode]) :] if mode else ids
            text = tokenizer.decode(behind, skip_special_tokens=True)
            tag = card.tags[mode] if mode else ""
            found.append(judge(tag + text, answers, match, card.tags))
        return found

    def answer(completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [float(judged.is_correct) for judged in read(completion_ids, columns)]

    def format(completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [float(judged.is_valid_format) for judged in read(completion_ids, columns)]

    return [{"answer": answer, "format": format}[name] for name in WEIGHTS]


def train(config: DualGrpoConfig, console: Console) -> Path:
    """Train, and return the folder of the adapter, or of the whole model without one.

    A run that was killed goes on from its last checkpoint; one that has ended is left as it is.

    Raises:
        ConfigInvalid: the folder holds another run, too few prompts are short enough, or the rows
            of a step cannot be shared out evenly.
        DataInvalid: the data cannot be read, or an item lacks a persona.
        CardInvalid: the card is malformed.
    """
    card = base_card(config)
    settings = arguments(config, card)
    folder = config.out / ("adapter" if config.is_adapter else "model")
    require_hardware(config)
    if begin(config):
        logger.info("already trained; remove %s to train again", config.out)
        return folder
    if config.use_cpu:
        cpu.prepare()
    # Heavy imports stay here: `personadual --help` must not wait for torch.
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig

    from training.dual_trainer import DualGRPOTrainer
    from training.ordered_trainer import OrderedGRPOTrainer
    from training.progress import attach

    prepared = GRPOConfig(**settings)
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    tag_ids = read_tag_ids(tokenizer, card)
    found = rows(config, card, tokenizer)
    shared: dict[str, Any] = {
        "model": open_network(config),
        "reward_funcs": rewards(tokenizer, card, tag_ids),
        "args": prepared,
        "train_dataset": Dataset.from_list(found),
        "processing_class": tokenizer,
        "peft_config": lora(config.lora_rank),
    }
    trainer = (
        DualGRPOTrainer(tag_ids=tag_ids, dual=config.dual, **shared)
        if config.forced_tags
        else OrderedGRPOTrainer(**shared)
    )
    attach(trainer, config.out, console, open_probe(config, tokenizer), config.probe_every)
    last = last_complete(config.out / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=last and str(last))
    trainer.save_model(str(folder))
    recipe = "DualGRPO" if config.forced_tags else "GRPO"
    if trainer.is_world_process_zero():
        if config.is_adapter:
            shrink(folder)
        save_card(trained_card(config, recipe, trainer.state), folder)
        write_run(config, recipe, trainer.state)
    return folder


def arguments(config: DualGrpoConfig, card: Card) -> dict[str, Any]:
    """The settings of TRL's trainer. Where TRL's default is another algorithm, it is set here.

    Raises:
        ConfigInvalid: the rows of a step cannot be shared out evenly.
    """
    a_step = config.prompts * config.rollouts
    generation: dict[str, Any] = {"use_vllm": config.generation != "transformers"}
    if config.generation == "server":
        generation |= {"vllm_mode": "server", "vllm_server_base_url": config.server_url}
    elif config.generation == "colocate":
        generation |= {
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": config.vllm_memory,
            # Else vLLM keeps room for one sequence of the model's whole context.
            "vllm_max_model_length": config.longest,
        }
    if config.generation != "transformers":
        # The default drops whole rows, their tags with them, the longer the likelier; a tag that
        # was forced has no log-probability, and so keeps the ratio 1.
        generation["vllm_importance_sampling_mode"] = "token_truncate"
    return {
        **generation,
        "output_dir": str(config.out / CHECKPOINTS),
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": processes.passes(
            a_step, config.batch_size, "prompts x rollouts"
        ),
        "ddp_find_unused_parameters": False,
        "generation_batch_size": a_step,
        "num_generations": config.rollouts,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "max_completion_length": config.max_response,
        "temperature": config.temperature,
        "chat_template_kwargs": dict(card.chat_template_kwargs),
        "learning_rate": config.learning_rate,
        "warmup_steps": config.warmup,
        "beta": config.kl,
        "use_bias_correction_kl": False,
        "scale_rewards": "none",
        # The mean over all tokens of a step, as the released code has it. A mean within each row
        # would weigh a tag by the length of what follows it: the mode whose right answers are
        # shorter would gain where rewards are equal.
        "loss_type": "dapo",
        "reward_weights": list(WEIGHTS.values()),
        "bf16": config.bf16,
        "use_cpu": config.use_cpu,
        "gradient_checkpointing": not config.use_cpu,
        "logging_steps": 1,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": ["tensorboard"],
        "seed": config.seed,
        "data_seed": config.seed,
        "disable_tqdm": True,
    }
