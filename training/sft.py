"""SFT: a checkpoint learns both modes, and which one a question asks for.

TRL's SFTTrainer over prompt/completion rows. The loss begins at the tag; where a mode was forced,
behind it. Rows over the length limit are dropped, not cut: TRL would keep their beginning and lose
the answer.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

from rich.console import Console

from model.card import save_card
from training import cpu, processes
from training.begun import CHECKPOINTS, begin
from training.cards import base_card
from training.checkpoints import last_complete, lora, open_network, shrink
from training.config import ConfigInvalid, SftConfig
from training.hardware import require_hardware
from training.items import load_items, require_personas
from training.probe import open_probe
from training.report import trained_card, write_run
from training.rows import sft_conditions, sft_rows, side_by_side

logger = logging.getLogger("personadual.training")


def rows(config: SftConfig, tokenizer: Any) -> list[dict[str, str]]:
    """Rows as TRL takes them: the prompt as text, by the checkpoint's own chat template.

    Raises:
        ConfigInvalid: all of them are over the length limit.
        DataInvalid: the data cannot be read, or an item lacks a persona or a trace.
    """
    card = base_card(config)
    items = load_items(config.data)
    require_personas(
        items,
        config.data,
        lambda item: sft_conditions(item, config.forced, config.paired, config.only_mode),
    )
    random.Random(config.seed).shuffle(items)
    # Llama's template writes the token that begins a text, and its tokenizer adds it again.
    opens_twice = tokenizer.bos_token_id in tokenizer("")["input_ids"]
    found: list[dict[str, str]] = []
    twins: list[bool] = []
    dropped = 0
    was_kept = False
    for row in sft_rows(
        items[: config.max_items],
        card.prompt,
        card.tags,
        seed=config.seed,
        forced=config.forced,
        paired=config.paired,
        only_mode=config.only_mode,
    ):
        prompt = tokenizer.apply_chat_template(
            row.messages, tokenize=False, add_generation_prompt=True, **card.chat_template_kwargs
        )
        if opens_twice:
            prompt = prompt.removeprefix(tokenizer.bos_token)
        whole = prompt + row.opening + row.completion
        if is_kept := len(tokenizer(whole)["input_ids"]) < config.max_length:
            found.append({"prompt": prompt + row.opening, "completion": row.completion})
            twins.append(row.is_twin and was_kept)
        else:
            dropped += 1
        was_kept = is_kept
    if not found:
        raise ConfigInvalid(
            f"{config.data}: no row to train: {dropped} of {dropped} are over max_length ="
            f" {config.max_length} tokens and dropped"
        )
    logger.info("%d rows, %d over the limit and dropped", len(found), dropped)
    if not config.invariance:
        return found
    if not any(twins):
        raise ConfigInvalid(
            f"{config.data}: no general row stands under both personas of its item, which"
            " invariance needs: no item has a trace in general mode, each says its own condition,"
            f" or one of each two is over max_length = {config.max_length}"
        )
    return side_by_side(found, twins, lambda row: len(row["prompt"]) + len(row["completion"]))


def train(config: SftConfig, console: Console) -> Path:
    """Train, and return the folder of the adapter, or of the whole model without one.

    A run that was killed goes on from its last checkpoint; one that has ended is left as it is.

    Raises:
        ConfigInvalid: the folder holds another run, or no row is short enough.
        DataInvalid: the data cannot be read, or an item lacks a persona or a trace.
        CardInvalid: the card is malformed.
    """
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
    from trl import SFTConfig

    from training.invariance import InvariantSFTTrainer
    from training.ordered_trainer import OrderedSFTTrainer
    from training.progress import attach

    tokenizer = AutoTokenizer.from_pretrained(config.model)
    found = rows(config, tokenizer)
    arguments = SFTConfig(
        output_dir=str(config.out / CHECKPOINTS),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=processes.passes(config.rows, config.batch_size, "rows"),
        ddp_find_unused_parameters=False,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        max_length=config.max_length,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",
        gradient_checkpointing=not config.use_cpu,
        bf16=config.bf16,
        use_cpu=config.use_cpu,
        logging_steps=5,
        disable_tqdm=True,
        save_steps=config.save_steps,
        save_total_limit=2,
        report_to=["tensorboard"],
        seed=config.seed,
        data_seed=config.seed,
    )
    shared: dict[str, Any] = {
        "model": open_network(config),
        "args": arguments,
        "train_dataset": Dataset.from_list(found),
        "processing_class": tokenizer,
        "peft_config": lora(config.lora_rank),
    }
    trainer = (
        InvariantSFTTrainer(weight=config.invariance, **shared)
        if config.invariance
        else OrderedSFTTrainer(**shared)
    )
    attach(trainer, config.out, console, open_probe(config, tokenizer), config.probe_every)
    last = last_complete(config.out / CHECKPOINTS)
    trainer.train(resume_from_checkpoint=last and str(last))
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        if config.is_adapter:
            shrink(folder)
        recipe = "Settling" if config.invariance else "SFT"
        save_card(trained_card(config, recipe, trainer.state), folder)
        write_run(config, recipe, trainer.state)
    return folder
