"""How our commands speak: a console for results, one for errors, a line per expected failure."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.markup import escape

from model.errors import InvalidRequest, PersonaDualError

# Emoji codes stay as they are: what is printed may be a persona, or an answer.
console = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)
INTERRUPTED = 130
# All that moves a cursor or starts a terminal's escape sequence.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """Text of others as a terminal may show it: no control characters but tab and line feed."""
    return _CONTROL.sub("", text)


def piped() -> str:
    """All of standard input.

    Raises:
        InvalidRequest: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("standard input is not UTF-8 text") from error


@contextlib.contextmanager
def reported(when_stopped: str = "stopped") -> Iterator[None]:
    """Turn an expected failure into one line and its exit code, Ctrl-C into one and 130."""
    try:
        yield
    except PersonaDualError as error:
        errors.print(f"[red]personadual:[/red] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        errors.print(f"  {when_stopped}")
        raise typer.Exit(INTERRUPTED) from error
