"""Models of random weights, small enough to be trained in a test; `tests/conftest.py` hands them on
as fixtures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model.card import Card, save_card
from training.items import Kind, load_items, save_items

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"


@pytest.fixture(scope="session")
def tiny(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers with Pocket's tokenizer and chat template."""
    folder = tmp_path_factory.mktemp("tiny")
    return random_model(pocket, folder, hidden_size=64, num_attention_heads=4)


def random_model(pocket: Path, folder: Path, **sizes: int) -> Path:
    """Two random layers with the tokenizer and the chat template of the checkpoint `pocket`."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(pocket)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        intermediate_size=128,
        num_hidden_layers=2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_card(Card(), folder)
    return folder


def rigged_items(model: Path, folder: Path) -> tuple[Path, Path]:
    """Files of items and of a probe. A random model says random words: so many of them count as
    right that rewards differ."""
    judged = [item for item in load_items(HELD_OUT) if item.kind is not Kind.CHAT]
    words = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    right = [word[1:] for word in words if word[0] == "\u0120" and word[1:].isalpha()][::8]
    data, probe = folder / "items.jsonl", folder / "probe.jsonl"
    save_items([replace(item, answers=right, match="mention") for item in judged[:24]], data)
    save_items(judged[24:36], probe)
    return data, probe


@pytest.fixture(scope="session")
def sharp(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that is sure of its reply, which hangs on the prompt: with a head that is tied
    to the embeddings it repeats the last token."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("sharp") / "model")
    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(tiny, tie_word_embeddings=False)
    network = AutoModelForCausalLM.from_config(config)
    torch.nn.init.normal_(network.lm_head.weight, std=1.0)
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """One that was trained: what it adds is not nothing."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from training.checkpoints import lora

    network = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), lora(4))
    torch.manual_seed(0)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    network.save_pretrained(tmp_path / "begun")
    return tmp_path / "begun"
