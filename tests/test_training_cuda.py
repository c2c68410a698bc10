"""The recipes on one GPU, as a user runs them: the weights that a CPU makes, rollouts in bf16."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.random_models import rigged_items

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: the recipes on a GPU are tested where there is one")


@pytest.fixture
def shared(tiny: Path, tmp_path: Path) -> str:
    """What both recipes' configurations have, with {out} open."""
    data, probe = rigged_items(tiny, tmp_path)
    return (
        f'model = "{tiny}"\ndata = "{data}"\nprobe = "{probe}"\n'
        'out = "{out}"\nlora_rank = 4\nlearning_rate = 1e-2\n'
    )


def train(recipe: str, config: str, out: Path) -> list[dict[str, Any]]:
    """Run it; what it logged, line by line."""
    path = out.with_suffix(".toml")
    path.write_text(config.format(out=out), encoding="utf-8")
    command = [sys.executable, "-m", "app", "train", recipe, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "GB of memory" in (out / "run.md").read_text(encoding="utf-8")
    return [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]


def weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(out / "adapter" / "adapter_model.safetensors")


def test_sft_makes_the_weights_that_a_cpu_makes(shared: str, tmp_path: Path) -> None:
    """In full precision: the same rows in the same order, and the same arithmetic."""
    import torch

    rows = "max_items = 8\nrows = 2\nbatch_size = 2\nepochs = 3\nmax_length = 320\nforced = 0.0\n"
    losses = {}
    for place, line in (("cpu", "use_cpu = true\n"), ("gpu", "")):
        logged = train("sft", shared + rows + line, tmp_path / place)
        losses[place] = [step["loss"] for step in logged if "loss" in step]
    assert losses["gpu"], "no loss was logged"
    assert losses["gpu"] == pytest.approx(losses["cpu"], rel=1e-3)
    made, wanted = weights(tmp_path / "gpu"), weights(tmp_path / "cpu")
    learnt = [name for name in made if "lora_B" in name]  # they begin at zero
    both = [torch.cat([ends[name].float().flatten() for name in learnt]) for ends in (made, wanted)]
    assert both[1].norm() > 0
    assert (both[0] - both[1]).norm() / both[1].norm() < 0.02


@pytest.mark.parametrize("dual", ["", '[dual]\nprefix_credit = "behaviour"\nprefix_kl = "capped"'])
def test_dual_grpo_rolls_out_and_learns(shared: str, dual: str, tmp_path: Path) -> None:
    """Several passes a step, bf16, activations computed again: as Pocket's run on a GPU has it."""
    sizes = (
        "bf16 = true\nrollouts = 4\nprompts = 4\nbatch_size = 8\nmax_steps = 3\nmax_prompt = 256\n"
        "max_response = 16\ntemperature = 1.0\n"
    )
    logged = train("dual-grpo", shared + sizes + dual, tmp_path / "run")
    steps = [step for step in logged if "dual/gap" in step]
    assert len(steps) == 3
    assert any(abs(step["loss"]) > 0 for step in steps), "nothing was trained"
    assert all(step["rewards/format/mean"] <= 1.0 for step in steps)
    made = weights(tmp_path / "run")
    assert any(tensor.abs().sum() > 0 for name, tensor in made.items() if "lora_B" in name)
