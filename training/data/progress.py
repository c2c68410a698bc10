"""Progress: a bar per stage with what was kept, tokens and cost; plain lines where no terminal is.

Counts only: no question, persona or reply is shown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
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

EVERY_S = 60.0


class Reading:
    """Shows what is being read, and how far; where no terminal is, every minute in a line."""

    def __init__(self, console: Console, every_s: float = EVERY_S) -> None:
        self._console = console
        self._every_s = every_s
        self._told_s = time.monotonic()
        self._status = console.status("sources …")

    def __enter__(self) -> Reading:
        self._status.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._status.stop()

    def show(self, what: str) -> None:
        self._status.update(f"{escape(what)} …")
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._told_s >= self._every_s:
            self._told_s = now_s
            self._console.print(f"  {what} …", markup=False, soft_wrap=True)


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
