"""How our commands speak: a console for results, one for errors, a line per expected failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.markup import escape

from model.errors import PersonaDualError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
INTERRUPTED = 130


@contextlib.contextmanager
def reported(when_stopped: str = "stopped") -> Iterator[None]:
    """Turn an expected failure into one line and a status of 1, Ctrl-C into one and 130."""
    try:
        yield
    except PersonaDualError as error:
        errors.print(f"[red]personadual:[/red] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        errors.print(f"  {when_stopped}")
        raise typer.Exit(INTERRUPTED) from error
