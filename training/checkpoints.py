"""Checkpoints and adapters of a run: which is gone on from, how one begins, what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from model.card import FILE_NAME as CARD
from training import cpu
from training.config import Config

KEPT = frozenset({"adapter_config.json", "adapter_model.safetensors", CARD})


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; None if there is none.

    transformers writes `trainer_state.json` last, so a process that was killed while it saved
    leaves a folder without it, or with half of it.
    """
    found = sorted(folder.glob("checkpoint-*"), key=_step, reverse=True)
    return next(filter(_is_complete, found), None)


def _step(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])


def _is_complete(path: Path) -> bool:
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def open_network(config: Config) -> Any:
    """What a run trains: the whole model, or the adapter on it that is trained on. A new adapter
    is the trainer's to add (`lora`).

    Its trainer's arguments come first: ZeRO-3 shares out what is loaded once they say that it does.
    """
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(
        config.model, dtype=base_dtype(config), **(cpu.EAGER if config.use_cpu else {})
    )
    if config.adapter is None:
        return network
    from peft import PeftModel
    from transformers.integrations import is_deepspeed_zero3_enabled

    return PeftModel.from_pretrained(
        network,
        config.adapter,
        is_trainable=True,
        # ZeRO-3 gathers adapter and base into one buffer, and keeps the float32 of what is trained
        # itself (deepspeed#8072); TRL does the same for an adapter that it adds.
        autocast_adapter_dtype=not is_deepspeed_zero3_enabled(),
    )


def base_dtype(config: Config) -> str:
    """Of the weights that are read. Those that are trained stay in float32: in half of it a step
    of 1e-6 is lost on most. Beside an adapter they only stand there."""
    is_half = config.bf16 and config.is_adapter and not config.use_cpu
    return "bfloat16" if is_half else "float32"


def shrink(adapter: Path) -> None:
    """Keep of an adapter what serving needs, in half precision: it travels with the repository."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = adapter / "adapter_model.safetensors"
    save_file(
        {name: tensor.to(torch.float16) for name, tensor in load_file(weights).items()}, weights
    )
    for path in adapter.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in KEPT:
            path.unlink()


def lora(rank: int | None) -> Any:
    """A new adapter on all linear layers; None where all weights are trained."""
    if rank is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
