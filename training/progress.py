"""What a run tells while it runs: a bar, a JSON line per step, the un-forced mode probability."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from training.begun import LOG
from training.probe import Probe

SHOWN = {
    "loss": "loss",
    "reward": "reward",
    "dual/gap": "gap",
    "mode/probability_personal": "p personal",
    "mode/probability_factual": "p factual",
}
LINE_EVERY_S = 30.0
"""How often a line is printed where no terminal can show a bar."""


class Cost:
    """What a run costs as it goes: tokens a second of all its processes since the last time, and
    the memory of the largest of them at its peak."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def of(self, logs: dict[str, Any]) -> dict[str, float]:
        """Of what is logged with a count of tokens; nothing is known of a process's first one."""
        if "num_tokens" not in logs:
            return {}
        now, tokens, last = time.monotonic(), float(logs["num_tokens"]), self._last
        self._last = (now, tokens)
        cost = {"cost/peak_gb": max(gather_object([peak_bytes()])) / 1e9}
        if last is not None and tokens > last[1]:
            cost["cost/tokens_per_s"] = (tokens - last[1]) / (now - last[0])
        return cost


def peak_bytes() -> int:
    """The most memory that this process has held: of its GPU where it trains on one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Teller(TrainerCallback):
    """Shows the progress, and keeps what was logged in `steps.jsonl`.

    A run that is resumed goes on in the same file; a step that it repeats stands there twice, and
    the later line counts.
    """

    def __init__(self, folder: Path, console: Console, *, is_first: bool) -> None:
        self._path = folder / LOG
        self._console = console
        self._latest: dict[str, float] = {}
        self._told = time.monotonic()
        self._cost = Cost()
        self._bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not (console.is_terminal and is_first),
        )
        self._task = self._bar.add_task("step", figures="")

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = logs or {}
        cost = self._cost.of(logs)  # every process says its own
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, **logs, **cost}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._latest |= {name: float(logs[name]) for name in SHOWN if name in logs}
        figures = "  ".join(f"{SHOWN[name]} {value:.3g}" for name, value in self._latest.items())
        self._bar.update(self._task, figures=figures)
        if not self._console.is_terminal and time.monotonic() - self._told > LINE_EVERY_S:
            self._told = time.monotonic()
            self._console.print(f"  step {state.global_step} of {state.max_steps}  {figures}")

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        self._bar.stop()


class Watch(TrainerCallback):
    """Reads the probe before the first step and every `every` steps."""

    def __init__(self, probe: Probe, every: int, log: Callable[[dict[str, float]], None]) -> None:
        self._probe = probe
        self._every = every
        self._log = log

    def on_train_begin(self, _args: Any, state: Any, _control: Any, model: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._read(model)

    def on_step_end(self, _args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            # What is logged clears the flag, and the step's own line would be left out.
            is_logged = control.should_log
            self._read(model)
            control.should_log = is_logged

    def _read(self, model: Any) -> None:
        was_training = model.training
        model.eval()
        try:
            self._log(self._probe.read(model))
        finally:
            model.train(was_training)


def attach(trainer: Any, folder: Path, console: Console, probe: Probe | None, every: int) -> None:
    """Give a trainer our progress in place of the one that transformers brings."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if probe is not None:
        trainer.add_callback(Watch(probe, every, trainer.log))
    trainer.add_callback(Teller(folder, console, is_first=trainer.is_world_process_zero()))
