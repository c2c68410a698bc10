"""The SFT recipe, for real, on a random two-layer model with the real tokenizer; and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.testing
from rich.console import Console

from model.card import Card, load_card, save_card
from model.mode import Mode, Tags
from training.cli import train_app
from training.config import ConfigInvalid, SftConfig, load_config
from training.items import load_items, save_items

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"
CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> SftConfig:
    data = tmp_path / "items.jsonl"
    save_items(load_items(HELD_OUT)[:8], data)
    return SftConfig(
        model=tiny,
        data=data,
        out=tmp_path / "run",
        use_cpu=True,
        rows=4,
        batch_size=4,
        learning_rate=1e-2,
        max_length=320,
        forced=0.0,
        lora_rank=4,
        save_steps=1,
    )


def test_two_steps(config: SftConfig) -> None:
    """The adapter is written, and it is no adapter of zeros."""
    from safetensors.torch import load_file

    from training.checkpoints import KEPT
    from training.sft import train

    adapter = train(config, Console())
    weights = load_file(adapter / "adapter_model.safetensors")
    assert any(tensor.abs().sum() > 0 for name, tensor in weights.items() if "lora_B" in name)
    assert sorted(path.name for path in adapter.iterdir()) == sorted(KEPT)
    said = (config.out / "run.md").read_text()
    assert "2 steps" in said
    assert f"| `lora_rank` | `{config.lora_rank}` |" in said
    assert sorted(path.name for path in (config.out / "checkpoints").glob("checkpoint-*")) == [
        "checkpoint-1",
        "checkpoint-2",
    ]


def test_an_adapter_is_trained_on(config: SftConfig, adapter: Path) -> None:
    """By steps of next to nothing it stays what it was; base and rank are its own, and its card
    names what it went through."""
    from safetensors.torch import load_file

    from training.sft import train

    save_card(Card(training={"recipe": "DualGRPO"}), adapter)
    update = {"adapter": adapter, "lora_rank": None, "learning_rate": 1e-9}
    ended = train(config.model_copy(update=update), Console())
    assert ended == config.out / "adapter"
    before, after = (load_file(one / "adapter_model.safetensors") for one in (adapter, ended))
    assert before.keys() == after.keys()
    assert load_card(ended)[0].training["recipe"] == "DualGRPO, SFT"
    for name, tensor in before.items():
        assert (after[name].float() - tensor).abs().max() < 1e-3, name


def test_the_loss_begins_at_the_tag(config: SftConfig, tiny: Path) -> None:
    """The prompt ends where the reply opens, also as token ids; a forced tag is in the prompt."""
    from transformers import AutoTokenizer

    from training.sft import rows

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    tags = Tags()
    for forced, in_prompt in ((0.0, False), (1.0, True)):
        found = rows(config.model_copy(update={"forced": forced}), tokenizer)
        assert len(found) == (16 if forced else 8)
        for row in found:
            is_given = any(row["prompt"].endswith(tags[mode]) for mode in Mode)
            assert is_given != any(row["completion"].startswith(tags[mode]) for mode in Mode)
            ids = tokenizer(row["prompt"])["input_ids"]
            assert tokenizer(row["prompt"] + row["completion"])["input_ids"][: len(ids)] == ids
        assert (
            any(row["prompt"].endswith(tuple(tags[m] for m in Mode)) for row in found) == in_prompt
        )


def test_rows_over_the_limit_are_dropped_not_cut(config: SftConfig, tiny: Path) -> None:
    from transformers import AutoTokenizer

    from training.sft import rows

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny)
    whole = rows(config, tokenizer)
    lengths = sorted(
        len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) for row in whole
    )
    short = rows(config.model_copy(update={"max_length": lengths[3]}), tokenizer)
    assert 0 < len(short) < len(whole)
    assert all(row in whole for row in short)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "model"),
        ("colour = 1", "colour"),
        ("batch_size = 0", "batch_size"),
        ("= 3", "not TOML"),
        ("max_length = 1000000", "context holds"),
        ('data = "nowhere.jsonl"', "nowhere.jsonl is not there"),
        ('adapter = "nowhere"', "adapter: nowhere is not there"),
        (f'adapter = "{CONFIGS}"', "adapter: .*configs holds no adapter .no adapter_config.json"),
        ('lora_rank = 4\nadapter = "x"', "name one of them"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(
    line: str, said: str, tiny: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sft.toml"
    data = "" if line.startswith("data") else f'data = "{HELD_OUT}"\n'
    path.write_text(f'model = "{tiny}"\n{data}out = "x"\n{line}\n' if line else "")
    with pytest.raises(ConfigInvalid, match=said):
        load_config(path, SftConfig)
    result = typer.testing.CliRunner().invoke(train_app, ["sft", str(path)])
    assert result.exit_code == 1
    assert not isinstance(result.exception, ConfigInvalid)
