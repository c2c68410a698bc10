"""Begun: what a run's folder was begun with, so that no run goes on as another one."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from training.checkpoints import last_complete
from training.config import Config, ConfigInvalid

BEGUN, LOG, CHECKPOINTS, ENDED = "begun.json", "steps.jsonl", "checkpoints", "run.md"
"""A run's files. `ENDED` is written last: what lies beside it is whole."""
STEPS = frozenset({"max_steps", "epochs"})
FREE = frozenset(
    {"out", "batch_size", "save_steps", "probe", "probe_items", "probe_every"}
    | {"server_url", "vllm_memory"}
)
"""Settings that change nothing of what is learnt."""


def begin(config: Config) -> bool:
    """Write down what a run is made of, or see that it is what it was begun with.

    With other numbers of steps it goes on, if no more were done. Where nothing was trained yet it
    may be another one. Returns whether it has ended already.

    Raises:
        ConfigInvalid: it was begun with other settings, data or adapter, or has done more steps.
    """
    now = _made_of(config)
    path, ended = config.out / BEGUN, config.out / ENDED
    if path.exists():
        before = _with_defaults(config, json.loads(path.read_text(encoding="utf-8")))
        names = {**before, **now}.keys() - FREE
        changed = [name for name in names if before.get(name) != now.get(name)]
        has_trained = ended.exists() or last_complete(config.out / CHECKPOINTS) is not None
        if has_trained and (differing := sorted(set(changed) - STEPS)):
            said = ", ".join(
                name.replace("_sha256", ": other content")
                if name.endswith("_sha256")
                else f"{name} was {before.get(name)}, is {now.get(name)}"
                for name in differing
            )
            raise ConfigInvalid(
                f"{config.out} was begun with other settings ({said}); choose another out, or"
                " remove it"
            )
        if STEPS.intersection(changed):
            _require_unpassed(config.out, now)
        if not changed and ended.exists():
            return True
        ended.unlink(missing_ok=True)
        if changed and not has_trained:
            (config.out / LOG).unlink(missing_ok=True)  # of the other run
    config.out.mkdir(parents=True, exist_ok=True)
    _cut_off_torn(config.out / LOG)
    # Whole or not at all; each process of a run writes the same.
    work = path.with_name(f".{BEGUN}.{os.getpid()}")
    work.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    work.replace(path)
    return False


def _require_unpassed(out: Path, now: dict[str, Any]) -> None:
    """transformers does no step where enough are done: the weights of more would pass for those of
    fewer."""
    last = last_complete(out / CHECKPOINTS)
    state = json.loads((last / "trainer_state.json").read_bytes()) if last else {}
    steps = state.get("global_step", 0)
    if not steps:
        return
    name = "epochs" if now.get("max_steps") is None else "max_steps"
    asked = now[name]
    if name == "epochs":
        # A part of a step is a whole one, but for what the division itself leaves.
        asked = math.ceil(asked * steps / state["epoch"] - 1e-6)
    if asked < steps:
        raise ConfigInvalid(
            f"{out} has trained {state['epoch']:.2f} epochs ({steps} steps) already, more than"
            f" {name} = {now[name]}; choose another out, or remove it"
        )


def _cut_off_torn(log: Path) -> None:
    """What a full disk or a lost power left of a line would spoil the next one, too."""
    if log.exists():
        with log.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _made_of(config: Config) -> dict[str, Any]:
    settings = config.model_dump(mode="json", exclude=set(FREE))
    settings["data_sha256"] = _digest(config.data)
    if config.adapter is not None:
        settings["adapter_sha256"] = _digest(config.adapter / "adapter_model.safetensors")
    return settings


def _with_defaults(config: Config, written: dict[str, Any]) -> dict[str, Any]:
    """A setting that is younger than the run had its default, one within a table too."""
    fields = type(config).model_fields.items()
    found = {
        name: to_jsonable_python(field.default) for name, field in fields if not field.is_required()
    }
    for name, value in written.items():
        default = found.get(name)
        if isinstance(default, dict) and isinstance(value, dict):
            value = default | value
        found[name] = value
    return found


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
