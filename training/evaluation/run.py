"""Run: all requests of a plan, a bounded number at once, each answer written as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from training.evaluation.answers import (
    ANSWERS,
    Answer,
    read_answers,
    without_failed,
    write_answer,
    writing,
)
from training.evaluation.endpoint import Endpoint
from training.evaluation.plan import Ask, Plan

Heard = Callable[[Answer], None]


async def ask_all(
    endpoint: Endpoint,
    asks: Sequence[Ask],
    plan: Plan,
    folder: Path,
    console: Console,
    *,
    concurrency: int,
    again: bool = False,
) -> None:
    """Ask what the folder holds no answer to; with `again`, also what failed before.

    Raises:
        DataInvalid: an answer cannot be written. Those before it are kept.
    """
    with writing(folder) as file:
        known = read_answers(folder) if (folder / ANSWERS).exists() else []
        done = {answer.key for answer in (without_failed(known) if again else known)}
        open_asks = [ask for ask in asks if ask.key not in done]
        if not open_asks:
            return
        with _progress(console, len(asks), len(asks) - len(open_asks)) as heard:
            try:
                await _work(endpoint, open_asks, plan, file, heard, concurrency)
            except ExceptionGroup as failed:  # of workers, which fail alike
                raise failed.exceptions[0] from failed


async def _work(
    endpoint: Endpoint,
    asks: Iterable[Ask],
    plan: Plan,
    file: TextIO,
    heard: Heard,
    concurrency: int,
) -> None:
    waiting = iter(asks)

    async def worker() -> None:
        for ask in waiting:
            answer = await endpoint.ask(ask, plan)
            write_answer(file, answer)
            heard(answer)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f}/s")


@contextmanager
def _progress(console: Console, total: int, done: int) -> Iterator[Heard]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    failed = 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("asking", total=total, completed=done, failed="")

        def heard(answer: Answer) -> None:
            nonlocal failed
            failed += answer.error is not None
            said = f"[red]{failed} failed[/red]" if failed else ""
            progress.update(task, advance=1, failed=said)

        yield heard
