"""A run's folder: what goes on in it, what has ended, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from training.begun import BEGUN, ENDED, LOG, begin
from training.config import Config, ConfigInvalid, DualGrpoConfig, SftConfig
from training.credit import DualAdvantageConfig
from training.hardware import require_processes


@pytest.fixture
def config(tmp_path: Path) -> SftConfig:
    (tmp_path / "items.jsonl").write_text("one")
    data = tmp_path / "items.jsonl"
    return SftConfig(model=tmp_path, data=data, out=tmp_path / "run", epochs=1, use_cpu=True)


def train(out: Path, steps: int = 1, epoch: float = 0.01) -> None:
    """A checkpoint, whole."""
    state = out / "checkpoints" / f"checkpoint-{steps}" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"global_step": steps, "epoch": epoch}))


def changed(config: SftConfig, **fields: Any) -> SftConfig:
    return config.model_copy(update=fields)


def test_a_run_goes_on_until_it_has_ended(config: SftConfig) -> None:
    """`run.md` is written last: an adapter without it may be half of one."""
    assert not begin(config)
    (config.out / "adapter").mkdir()
    assert not begin(config)
    (config.out / ENDED).touch()
    assert begin(config)
    assert begin(changed(config, probe_every=7, save_steps=3)), "it learns the same"
    assert begin(changed(config, batch_size=2)), "a step has as many rows in smaller passes"


def test_more_steps_go_on(config: SftConfig) -> None:
    begin(config)
    (config.out / ENDED).touch()
    longer = changed(config, epochs=2)
    assert not begin(longer)
    assert not begin(longer), "killed before it ended, it has not ended"


def test_fewer_epochs_than_were_trained_are_refused(config: SftConfig) -> None:
    """transformers would do no step, and the weights of two epochs be those of a run of one."""
    two = changed(config, epochs=2)
    begin(two)
    train(config.out, 6, 2.0)
    (config.out / ENDED).touch()
    for _ in range(2):
        with pytest.raises(
            ConfigInvalid, match=r"2\.00 epochs \(6 steps\).* epochs = 1\.0; choose"
        ):
            begin(config)
    assert begin(two), "what was refused has changed nothing"
    assert not begin(changed(config, epochs=3))


def test_a_part_of_a_step_is_a_step(config: SftConfig) -> None:
    """Of 3 steps an epoch 1.5 epochs are 5, which end at 1.67; so are 1.6, and 1.3 are 4."""
    begin(changed(config, epochs=1.5))
    train(config.out, 5, 5 / 3)
    assert not begin(changed(config, epochs=1.5))
    assert not begin(changed(config, epochs=1.6))
    with pytest.raises(ConfigInvalid, match=r"epochs = 1\.3"):
        begin(changed(config, epochs=1.3))


def test_fewer_steps_than_were_trained_are_refused(config: SftConfig, tmp_path: Path) -> None:
    """Where `max_steps` is set `epochs` says nothing."""
    run = DualGrpoConfig(model=tmp_path, data=config.data, out=tmp_path / "dual", max_steps=40)
    begin(run)
    train(run.out, 20, 0.5)
    with pytest.raises(ConfigInvalid, match=r"0\.50 epochs \(20 steps\).* max_steps = 10; choose"):
        begin(run.model_copy(update={"max_steps": 10}))
    with pytest.raises(ConfigInvalid, match=r"epochs = 0\.25; choose"):
        begin(run.model_copy(update={"max_steps": None, "epochs": 0.25}))
    assert not begin(run.model_copy(update={"max_steps": 20, "epochs": 0.25}))


def test_a_torn_line_of_the_log_is_cut_off_before_more_are_added(config: SftConfig) -> None:
    """What a full disk or a lost one left would else spoil the next line, too."""
    begin(config)
    train(config.out)
    log = config.out / LOG
    for left in (b'{"step": 1}\n{"st', b'{"step": 1}\n', b'{"step": 1}\n\0\0\0'):
        log.write_bytes(left)
        begin(config)
        assert log.read_bytes() == b'{"step": 1}\n'


def test_another_run_is_refused(config: SftConfig) -> None:
    begin(config)
    begin(changed(config, seed=7))  # nothing was trained yet
    begin(config)
    train(config.out)
    with pytest.raises(
        ConfigInvalid, match=r"begun with other settings \(forced was 0.4, is 0.1\); choose"
    ):
        begin(changed(config, forced=0.1, epochs=3))
    config.data.write_text("two")
    with pytest.raises(ConfigInvalid, match="data: other content"):
        begin(config)


def test_a_setting_that_is_younger_than_the_run_had_its_default(config: SftConfig) -> None:
    begin(config)
    train(config.out)
    path = config.out / BEGUN
    settings = json.loads(path.read_text())
    del settings["invariance"]
    path.write_text(json.dumps(settings))
    begin(config)
    path.write_text(json.dumps(settings))
    with pytest.raises(ConfigInvalid, match=r"invariance was 0\.0, is 2\.0"):
        begin(changed(config, invariance=2.0))


def test_so_had_one_that_is_younger_within_a_table(config: SftConfig, tmp_path: Path) -> None:
    shared = {"model": tmp_path, "data": config.data, "out": tmp_path / "dual"}
    run = DualGrpoConfig(**shared, dual=DualAdvantageConfig(prefix_kl="capped"))
    begin(run)
    train(run.out)
    path = run.out / BEGUN
    settings = json.loads(path.read_text())
    del settings["dual"]["kl_cap"]
    path.write_text(json.dumps(settings))
    begin(run)
    path.write_text(json.dumps(settings))
    with pytest.raises(ConfigInvalid, match=r"dual was .*'kl_cap': 1\.0.*, is .*'kl_cap': 0\.5"):
        begin(DualGrpoConfig(**shared, dual=DualAdvantageConfig(prefix_kl="capped", kl_cap=0.5)))


@pytest.mark.parametrize("kind", [SftConfig, DualGrpoConfig])
def test_training_another_adapter_on_is_refused(
    kind: type[Config], config: SftConfig, tmp_path: Path
) -> None:
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.parent.mkdir()
    weights.write_text("a")
    onward = kind(model=tmp_path, data=config.data, out=tmp_path / "on", adapter=weights.parent)
    begin(onward)
    train(onward.out)
    weights.write_text("b")
    with pytest.raises(ConfigInvalid, match="adapter: other content"):
        begin(onward)


def test_both_recipes_ask_before_anything_is_loaded(config: SftConfig, tmp_path: Path) -> None:
    """There is no model to load here."""
    from training import dual_grpo, sft

    dual = DualGrpoConfig(
        model=tmp_path, data=config.data, out=tmp_path / "rl", lora_rank=4, use_cpu=True
    )
    for one in (config, dual):
        begin(one)
        train(one.out)
    with pytest.raises(ConfigInvalid, match="seed was 42, is 7"):
        sft.train(changed(config, seed=7), Console())
    with pytest.raises(ConfigInvalid, match="kl was"):
        dual_grpo.train(dual.model_copy(update={"kl": 0.5}), Console())
    for out in (config.out, dual.out):
        (out / ENDED).touch()
    assert sft.train(config, Console()) == config.out / "model"
    assert dual_grpo.train(dual, Console()) == dual.out / "adapter"


def test_several_gpus_want_a_process_each() -> None:
    """One process would be given all of them, which TRL refuses with a traceback."""
    require_processes(1, are_launched=False)
    require_processes(8, are_launched=True)
    with pytest.raises(ConfigInvalid, match=r"2 GPUs here and one process.*torchrun"):
        require_processes(2, are_launched=False)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU here")
def test_without_a_gpu_a_run_that_wants_one_is_not_begun(config: SftConfig) -> None:
    from training import sft

    with pytest.raises(ConfigInvalid, match="no GPU here; set use_cpu = true"):
        sft.train(changed(config, use_cpu=False), Console())
    assert not config.out.exists()
