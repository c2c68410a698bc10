"""A run of several processes learns what one process learns, and speaks once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training import processes
from training.config import ConfigInvalid
from training.items import Kind, load_items, save_items

ROOT = Path(__file__).parents[1]
HELD_OUT = ROOT / "training" / "pocket" / "data" / "held_out.jsonl"
BIN = Path(sys.executable).parent


def launch(count: int, *command: str) -> subprocess.CompletedProcess[str]:
    """As `make pocket` does."""
    launcher = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", str(count)]
    return subprocess.run(
        [*launcher, *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def config(sharp: Path, tmp_path: Path) -> str:
    """What both recipes need."""
    items = [item for item in load_items(HELD_OUT) if item.kind is Kind.OBJECTIVE]
    # A random model says random words: so many count as right that rewards differ.
    words = json.loads((sharp / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    right = [word[1:] for word in words if word[0] == "Ġ" and word[1:].isalpha()][::3]
    data = tmp_path / "items.jsonl"
    save_items([replace(item, answers=right, match="mention") for item in items[:16]], data)
    return (
        f'model = "{sharp}"\ndata = "{data}"\nuse_cpu = true\nlora_rank = 4\nlearning_rate = 1e-3\n'
    )


def run(config: str, recipe: str, count: int, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """What a run of so many processes said and logged."""
    out, path = folder / f"{count}", folder / f"{count}.toml"
    path.write_text(f'{config}out = "{out}"\n', encoding="utf-8")
    ended = launch(count, str(BIN / "personadual"), "train", recipe, str(path))
    said = ended.stdout + ended.stderr
    return said, [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]


# Ten pairs and four rows alone are three whole steps: of a part of one, two processes fill up.
PAIRS = "seed = 1\nmax_items = 14\npaired = 1.0\ninvariance = 2.0\n"


@pytest.mark.parametrize("pairs", ["", PAIRS], ids=["alone", "pairs"])
def test_two_processes_train_what_one_trains(config: str, pairs: str, tmp_path: Path) -> None:
    """The same rows make the same weights, whoever reads them."""
    text = f"{config}{pairs}rows = 8\nbatch_size = 4\nepochs = 2\nmax_length = 320\nforced = 0.0\n"
    (_, alone), (said, shared) = (run(text, "sft", count, tmp_path) for count in (1, 2))
    assert said.count("trained:") == 1
    assert said.count(" rows, ") == 1
    assert "in each of 2 processes" in (tmp_path / "2" / "run.md").read_text(encoding="utf-8")
    assert alone[-1]["num_tokens"] == shared[-1]["num_tokens"]
    one, two = (_weights(tmp_path / str(count)) for count in (1, 2))
    assert one.keys() == two.keys()
    assert max(tensor.abs().max() for name, tensor in one.items() if "lora_B" in name) > 1e-3
    for name, tensor in one.items():
        assert (tensor - two[name]).abs().max() < 2e-4, name


def test_two_processes_reinforce_what_one_reinforces(config: str, tmp_path: Path) -> None:
    """A group's halves may lie in one process; rewards, gap and gradient are those of the whole."""
    text = (
        f"{config}max_items = 4\nrollouts = 4\nprompts = 4\nbatch_size = 4\nmax_steps = 1\n"
        # All but greedy: who samples then says the same.
        "temperature = 0.001\nwarmup = 0.0\nmax_prompt = 256\nmax_response = 25\n"
    )
    (_, alone), (_, shared) = (run(text, "dual-grpo", count, tmp_path) for count in (1, 2))
    one, two = (next(line for line in lines if "dual/gap" in line) for lines in (alone, shared))
    assert one["dual/gap"] != 0, "the modes earn the same: this shows nothing"
    for name in ("reward", "dual/gap", "dual/reward_general", "dual/reward_personalized", "loss"):
        assert one[name] == pytest.approx(two[name], rel=1e-4, abs=1e-6), name
    assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-2)


def test_what_is_watched_can_be_trained_where_processes_share_the_weights(tiny: Path) -> None:
    """FSDP2 makes its whole weights at the first pass, which is the probe's."""
    launch(2, "-m", "tests.probe_worker", str(tiny))


def test_rows_are_shared_out_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.passes(32, 8, "rows") == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.passes(32, 8, "rows") == 2
    with pytest.raises(ConfigInvalid, match=r"rows = 24 cannot be divided by .* = 16"):
        processes.passes(24, 8, "rows")


def _weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found = load_file(out / "adapter" / "adapter_model.safetensors")
    return {name: tensor.float() for name, tensor in found.items()}
