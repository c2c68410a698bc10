"""What a run leaves for its readers: `run.md`, and pictures of what was logged."""

from __future__ import annotations

import contextlib
import json
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from model.card import Card, load_card
from model.decision import Calibration
from training import processes
from training.begun import ENDED, LOG
from training.cards import base_card
from training.config import Config

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
PICTURES = {
    "loss": "loss",
    "reward": "reward",
    "dual/reward_general": "reward, general",
    "dual/reward_personalized": "reward, personalised",
    "dual/gap": "gap: personalised minus general",
    "invariance": "divergence of a reply under two personas, nats",
    "kl": "KL to the reference, nats",
    "mode/probability_personal": "un-forced probability of personalised mode where it is right",
    "mode/probability_factual": "un-forced probability of personalised mode where general is",
}


def _each() -> str:
    return f" in each of {processes.count()} processes" if processes.count() > 1 else ""


def write_run(config: Config, recipe: str, state: Any) -> None:
    """Write `run.md` and a PNG per logged figure; `state` is the trainer's, history and all."""
    folder, history = config.out, state.log_history
    speeds, rollouts, peaks = (
        _logged(folder, f"cost/{name}")
        for name in ("tokens_per_s", "rollout_tokens_per_s", "peak_gb")
    )
    pictures = [_draw(key, label, history, folder) for key, label in PICTURES.items()]
    lines = [
        f"# {recipe}",
        "",
        f"{state.global_step} steps, {state.epoch:.2f} epochs; Python"
        f" {platform.python_version()}, {', '.join(_versions())}.",
        *([f"At most {max(peaks):.1f} GB of memory{_each()}."] if peaks else ()),
        *([f"{median(speeds):,.0f} tokens/s at the median."] if speeds else ()),
        *([f"{median(rollouts):,.0f} sampled tokens/s of the rollouts."] if rollouts else ()),
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| `{name}` | `{value}` |" for name, value in config.model_dump(mode="json").items()),
        "",
        "| logged | first | last |",
        "| --- | --- | --- |",
        *(
            f"| {label} | {series[0]:.4g} | {series[-1]:.4g} |"
            for key, label in PICTURES.items()
            if (series := [float(entry[key]) for entry in history if key in entry])
        ),
        "",
        *(f"![{name}]({name}.png)" for name in pictures if name),
    ]
    (folder / ENDED).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _logged(folder: Path, name: str) -> list[float]:
    """What `steps.jsonl` says of one figure: the costs are those of this machine, not the run's.

    A line that a full disk or a lost power tore is left out: no run fails for what it has cost.
    """
    found = []
    for line in (folder / LOG).read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [line[name] for line in found if name in line]


def trained_card(config: Config, recipe: str, state: Any) -> Card:
    """The base's card for what was trained from it: it reasons, and is not calibrated yet. Its
    recipe names those before it too."""
    base = base_card(config)
    before = base if config.adapter is None else load_card(config.adapter)[0]
    training = {
        "recipe": ", ".join(filter(None, (before.training.get("recipe"), recipe))),
        "data": config.data.name,
        "seed": config.seed,
        "steps": state.global_step,
        "versions": ", ".join(_versions()),
    }
    return replace(base, reasons=True, calibration=Calibration(), training=training, evaluation={})


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return found


def _draw(key: str, label: str, history: list[dict[str, Any]], folder: Path) -> str | None:
    points = [(entry["step"], float(entry[key])) for entry in history if key in entry]
    if not points:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True), linewidth=1.5)
    axes.set_title(label, loc="left", fontsize="medium")  # beside the axis a long one is cut
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    name = key.rsplit("/", 1)[-1]
    figure.savefig(folder / f"{name}.png", dpi=110)
    return name
