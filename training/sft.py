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

from model.card import load_card
from training.config import SftConfig
from training.items import load_items, sft_rows
from training.report import write_run

KEPT = frozenset({"adapter_config.json", "adapter_model.safetensors"})
logger = logging.getLogger("personadual.training")


def rows(config: SftConfig, tokenizer: Any) -> list[dict[str, str]]:
    """Rows as TRL takes them: the prompt as text, by the checkpoint's own chat template."""
    card, _warning = load_card(config.model)
    items = load_items(config.data)
    random.Random(config.seed).shuffle(items)
    found: list[dict[str, str]] = []
    for row in sft_rows(
        items[: config.max_items], card.prompt, card.tags, seed=config.seed, forced=config.forced
    ):
        prompt = tokenizer.apply_chat_template(
            row.messages, tokenize=False, add_generation_prompt=True, **card.chat_template_kwargs
        )
        whole = prompt + row.opening + row.completion
        if len(tokenizer(whole)["input_ids"]) < config.max_length:
            found.append({"prompt": prompt + row.opening, "completion": row.completion})
    return found


def train(config: SftConfig) -> Path:
    """Train an adapter and return its folder.

    A run that was killed goes on from its last checkpoint.
    """
    # Heavy imports stay here: `personadual --help` must not wait for torch.
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(config.model)
    found = rows(config, tokenizer)
    logger.info("%d rows", len(found))
    arguments = SFTConfig(
        output_dir=str(config.out / "checkpoints"),
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        max_length=config.max_length,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",
        gradient_checkpointing=False,
        bf16=config.bf16,
        use_cpu=config.use_cpu,
        logging_steps=5,
        save_steps=config.save_steps,
        save_total_limit=2,
        report_to=["tensorboard"],
        seed=config.seed,
        data_seed=config.seed,
        model_init_kwargs={"dtype": "float32"},
    )
    trainer = SFTTrainer(
        model=str(config.model),
        args=arguments,
        train_dataset=Dataset.from_list(found),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * config.lora_rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    last = (
        get_last_checkpoint(arguments.output_dir) if Path(arguments.output_dir).is_dir() else None
    )
    trainer.train(resume_from_checkpoint=last)
    adapter = config.out / "adapter"
    trainer.save_model(str(adapter))
    shrink(adapter)
    write_run(config, "SFT", config.out)
    return adapter


def shrink(adapter: Path) -> None:
    """Keep of an adapter what serving needs, in half precision: it travels with the repository."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = adapter / "adapter_model.safetensors"
    save_file(
        {name: tensor.to(torch.float16) for name, tensor in load_file(weights).items()}, weights
    )
    for path in adapter.iterdir():
        if path.name not in KEPT:
            path.unlink()
