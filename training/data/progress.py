"""Progress: a bar per stage with what was kept, tokens and cost; plain lines where no terminal is.

Counts only: no question, persona or reply is shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from training.data.recipe import TeacherSettings
from training.data.teacher import Meter


class Board:
    """Shows one stage at a time; `meter` is the teacher's."""

    def __init__(self, console: Console, settings: TeacherSettings, meter: Meter) -> None:
        self._console = console
        self._settings = settings
        self._meter = meter
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[cost]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._stage: TaskID | None = None

    def __enter__(self) -> Board:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def stage(self, name: str, wanted: int) -> Iterator[None]:
        self._stage = self._bars.add_task(name, total=wanted, cost=self.cost())
        yield
        self._bars.update(self._stage, cost=self.cost())
        if not self._console.is_terminal:
            self._console.print(f"  {name}: {self.cost()}", markup=False)

    def show(self, kept: int) -> None:
        """One more question is settled; `kept` is 1 or 0."""
        if self._stage is not None:
            self._bars.update(self._stage, advance=kept, cost=self.cost())

    def tell(self, what: str) -> None:
        self._console.print(f"  {what}", markup=False, soft_wrap=True)

    def cost(self) -> str:
        tokens = self._meter.prompt_tokens + self._meter.completion_tokens
        usd = self._meter.usd(self._settings)
        return f"{self._meter.replies} replies, {tokens} tokens" + (f", ${usd:.2f}" if usd else "")
