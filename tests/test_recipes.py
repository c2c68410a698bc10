"""The recipes as a user runs them: every configuration, a kill in the middle, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.random_models import rigged_items
from training.checkpoints import last_complete
from training.cli import train_app
from training.config import (
    Config,
    ConfigInvalid,
    DualGrpoConfig,
    SftConfig,
    load_config,
    read_config,
)
from training.credit import DualAdvantageConfig

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
HELD_OUT = ROOT / "training" / "pocket" / "data" / "held_out.jsonl"
STEPS = 6


@pytest.mark.parametrize(
    "path",
    # tests/test_data_recipe.py reads the recipes of data
    sorted(path for path in CONFIGS.glob("*.toml") if not path.stem.startswith("data-")),
    ids=lambda path: path.stem,
)
def test_every_configuration_is_read(path: Path) -> None:
    kind: type[Config] = DualGrpoConfig if "dual-grpo" in path.stem else SftConfig
    config = read_config(path, kind)
    assert config.longest >= 320
    if isinstance(config, DualGrpoConfig):
        from trl import GRPOConfig

        from training.dual_grpo import arguments

        whole = arguments(config, _card())
        assert set(whole) <= {field.name for field in fields(GRPOConfig)}
        assert whole["generation_batch_size"] == config.prompts * config.rollouts


def test_the_papers_settings_are_the_defaults_and_the_large_configurations() -> None:
    """Design 5; the paper's table of hyper-parameters."""
    for name in ("qwen3-8b-dual-grpo", "llama-3.1-8b-dual-grpo"):
        config = read_config(CONFIGS / f"{name}.toml", DualGrpoConfig)
        assert (config.rollouts, config.prompts, config.epochs) == (8, 64, 5)
        assert (config.learning_rate, config.kl, config.temperature) == (1e-6, 0.04, 0.6)
        assert (config.max_prompt, config.max_response, config.warmup) == (2048, 1024, 0.1)
        assert config.dual == DualAdvantageConfig()


@pytest.mark.parametrize("name", ["accelerate-fsdp2", "accelerate-zero3"])
def test_accelerate_reads_its_files(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert found.num_processes == 8


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rollouts = 7", "rollouts: .*multiple of 2"),
        ("max_prompt = 100000", "context holds"),
        ('generation = "server"', "server_url"),
        ('server_url = "http://engine"', 'server_url is for generation = "server"'),
        ('generation = "transformers"\nvllm_memory = 0.5', 'vllm_memory is for .* "colocate"'),
        ("[dual]\ncredit = 1", "dual.*credit"),
        ('[dual]\nvariant = "mine"', "variant: Input should be .paper"),
        ('adapter = "nowhere"', "adapter: nowhere is not there"),
        (f'adapter = "{CONFIGS}"', "adapter: .*configs holds no adapter .no adapter_config.json"),
        ('lora_rank = 4\nadapter = "x"', "name one of them"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_loaded(
    line: str, said: str, tiny: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.toml"
    limits = "" if "max_prompt" in line else "max_prompt = 256\nmax_response = 32\n"
    path.write_text(f'model = "{tiny}"\ndata = "{HELD_OUT}"\nout = "x"\n{limits}{line}\n')
    with pytest.raises(ConfigInvalid, match=said):
        load_config(path, DualGrpoConfig)


@pytest.mark.parametrize("command", ["sft", "dual-grpo"])
@pytest.mark.parametrize(("is_made", "said"), [(False, "is not there; "), (True, "holds no check")])
def test_a_model_that_is_no_checkpoint_is_one_line_that_says_what_to_do(
    tmp_path: Path, command: str, is_made: bool, said: str
) -> None:
    """And no hub is asked for it."""
    path, model = tmp_path / "x.toml", tmp_path / "model"
    if is_made:
        model.mkdir()
    path.write_text(f'model = "{model}"\ndata = "{HELD_OUT}"\nout = "{tmp_path}/out"\n')
    done = CliRunner().invoke(train_app, [command, str(path)])
    assert done.exit_code == 1
    assert done.output.startswith(f"personadual: {path}: model: {model} {said}")
    assert "personadual model export" in done.output
    assert f"personadual model build --untrained {model}" in done.output
    assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_shared_out_are_refused(tiny: Path) -> None:
    from training.dual_grpo import arguments

    config = DualGrpoConfig(model=tiny, data=HELD_OUT, out=Path("x"), prompts=3, batch_size=16)
    with pytest.raises(ConfigInvalid, match="cannot be divided"):
        arguments(config, _card())


@pytest.fixture
def recipes(tiny: Path, tmp_path: Path) -> dict[str, str]:
    """A configuration of each recipe, for two out folders: as text with {out} open."""
    data, probe = rigged_items(tiny, tmp_path)
    shared = (
        f'model = "{tiny}"\ndata = "{data}"\nprobe = "{probe}"\nout = "{{out}}"\n'
        "use_cpu = true\nlora_rank = 4\nsave_steps = 2\nlearning_rate = 1e-2\nprobe_every = 3\n"
    )
    return {
        # Two steps an epoch: where it is killed, the order of a later epoch is open.
        "sft": f"{shared}max_items = 8\nrows = 4\nbatch_size = 4\nepochs = 3\nmax_length = 320\n"
        "forced = 0.0\n",
        # Here too.
        "dual-grpo": f"{shared}max_items = 4\n"
        f"rollouts = 4\nprompts = 2\nbatch_size = 8\nmax_steps = {STEPS}\n"
        "max_prompt = 256\nmax_response = 16\ntemperature = 1.0\n",
    }


@pytest.mark.parametrize("recipe", ["sft", "dual-grpo"])
def test_a_killed_run_that_trains_an_adapter_on_keeps_its_steps(
    recipe: str, recipes: dict[str, str], adapter: Path, tmp_path: Path
) -> None:
    """In DualGRPO TRL then holds two adapters; the trained one must not begin from the first one
    again."""
    onward = recipes[recipe].replace("lora_rank = 4", f'adapter = "{adapter}"')
    _ends_alike(recipe, onward, tmp_path)


@pytest.mark.parametrize("recipe", ["sft", "dual-grpo"])
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    recipe: str, recipes: dict[str, str], tmp_path: Path
) -> None:
    """kill -9 in the middle: the same weights, and what the run leaves for its readers."""
    _ends_alike(recipe, recipes[recipe], tmp_path)


def test_a_killed_settling_keeps_its_pairs_and_their_order(
    recipes: dict[str, str], adapter: Path, tmp_path: Path
) -> None:
    """Four items, each under both of its personas: eight rows, two steps an epoch."""
    settling = recipes["sft"].replace("lora_rank = 4", f'adapter = "{adapter}"')
    settling = settling.replace("max_items = 8", "max_items = 4\npaired = 1.0\ninvariance = 5.0")
    _ends_alike("sft", settling, tmp_path)
    assert "divergence of a reply under two personas" in (tmp_path / "killed/run.md").read_text()


def _ends_alike(recipe: str, config: str, tmp_path: Path) -> None:
    ends = {}
    for name in ("whole", "killed"):
        path, out = tmp_path / f"{name}.toml", tmp_path / name
        path.write_text(config.format(out=out))
        if name == "killed":
            _kill_after_a_checkpoint(recipe, path, out)
            assert last_complete(out / "checkpoints") is not None
        subprocess.run(_command(recipe, path), check=True, cwd=ROOT, capture_output=True)
        ends[name] = _weights(out)
        said = (out / "run.md").read_text()
        assert f"{STEPS} steps" in said
        assert (out / "probability_personal.png").is_file()
        steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
        assert "mode/probability_personal" in steps[0]
        assert steps[0]["step"] == 0
        assert any(abs(step.get("loss", 0)) > 0 for step in steps), "nothing was trained"
        if recipe == "dual-grpo" and name == "whole":
            logged = [step["step"] for step in steps if "loss" in step]
            assert logged == list(range(1, STEPS + 1)), "a step has no line of its own"
            assert "sampled tokens/s of the rollouts" in said
        peaks = [step["cost/peak_gb"] for step in steps if "cost/peak_gb" in step]
        assert peaks == sorted(peaks) or name == "killed", "a peak does not fall"
        assert f"At most {max(peaks):.1f} GB of memory." in said
        assert "tokens/s" in said
    for key, tensor in ends["whole"].items():
        assert (ends["killed"][key] - tensor).abs().max() < 1e-3, key


def test_plain_grpo_runs_by_the_same_recipe(recipes: dict[str, str], tmp_path: Path) -> None:
    """The arm to compare with: no tag is forced, so no reward is told by mode."""
    path, out = tmp_path / "plain.toml", tmp_path / "plain"
    text = recipes["dual-grpo"].replace(f"max_steps = {STEPS}", "max_steps = 2")
    path.write_text(f"{text.format(out=out)}forced_tags = false\n")
    subprocess.run(_command("dual-grpo", path), check=True, cwd=ROOT, capture_output=True)
    assert "# GRPO\n" in (out / "run.md").read_text()
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert any("reward" in step for step in steps)
    assert not any("dual/gap" in step for step in steps)


def _command(recipe: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "app", "train", recipe, str(path)]


def _kill_after_a_checkpoint(recipe: str, path: Path, out: Path) -> None:
    run = subprocess.Popen(
        _command(recipe, path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 400  # a busy machine takes minutes to its first checkpoint
    try:
        while time.monotonic() < deadline and run.poll() is None:
            if last_complete(out / "checkpoints") is not None:
                break
            time.sleep(0.02)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()


def _weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found = load_file(out / "adapter" / "adapter_model.safetensors")
    return {name: tensor.float() for name, tensor in found.items()}


def _card() -> Any:
    from model.card import Card

    return Card()
