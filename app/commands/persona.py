"""The commands `personadual persona ...`: personas of the key's tenant, one or very many."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from app.commands.gateway import DEFAULT_URL, AsJson, Gateway, Key, Url
from app.commands.journal import Journal, Progress
from model.console import console, errors, harmless, piped, reported
from model.errors import InvalidRequest

app = typer.Typer(help="Write, read, import and export personas.", no_args_is_help=True)
STOPPED = "stopped"
GOES_ON = "stopped; the same command goes on from there"
PIPE = "-"
SHOWN_ERRORS = 20
PAGE = 1_000
REPORTED = ("lines", "written", "refused", "errors")

Id = Annotated[str, typer.Argument(help="The persona's id.")]


@app.command()
def put(
    persona_id: Id,
    text: Annotated[str, typer.Argument(help="Its text; - reads it from standard input.")],
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE; may be repeated. Numbers, true and false are read as such."),
    ] = None,
    ttl: Annotated[
        int | None,
        typer.Option(min=1, help="Seconds after which it is forgotten."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Write a persona; what was there under its id is replaced."""
    with reported():
        body: dict[str, Any] = {"text": piped().strip() if text == PIPE else text}
        body["attributes"] = dict(map(_attribute, attribute or ()))
        if ttl is not None:
            body["ttl_s"] = ttl
        stored = Gateway(url, key).ask("PUT", _path(persona_id), body)
        if as_json:
            _print_json(stored)
        else:
            console.print(f"{escape(persona_id)} is stored, version {stored['version']}")


@app.command()
def get(persona_id: Id, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Show a persona."""
    with reported():
        stored = Gateway(url, key).ask("GET", _path(persona_id))
        if as_json:
            _print_json(stored)
            return
        console.print(harmless(stored["text"]), markup=False, soft_wrap=True)
        for name, value in stored["attributes"].items():
            console.print(f"[dim]{escape(harmless(name))}:[/] {escape(harmless(str(value)))}")
        said = f"version {stored['version']}, written {stored['updated_at']}"
        if stored["ttl_s"] is not None:
            said += f", forgotten in {stored['ttl_s']:,} s"
        errors.print(f"[dim]{said}[/]", soft_wrap=True)


@app.command()
def delete(persona_id: Id, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Forget a persona."""
    with reported():
        gone = Gateway(url, key).ask("DELETE", _path(persona_id))
        if as_json:
            _print_json(gone)
        else:
            console.print(f"{escape(persona_id)} is forgotten")


@app.command("list")
def list_ids(
    after: Annotated[str, typer.Option(help="Start after this id.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many ids.")] = PAGE,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List ids in order, one a line."""
    with reported():
        gateway = Gateway(url, key)
        found: list[str] = []
        following: str | None = after
        while following is not None and len(found) < limit:
            query = f"?limit={min(PAGE, limit - len(found))}"
            query += f"&after={quote(following)}" if following else ""
            page = gateway.ask("GET", f"/v1/personas{query}")
            found += page["ids"]
            following = page["next_after"]
        if as_json:
            _print_json({"ids": found, "next_after": following})
            return
        for persona_id in found:
            typer.echo(persona_id)
        if following is not None:
            errors.print(f"[dim]there are more: --after {escape(following)}[/]")
        elif not found and not after:
            errors.print("[dim]there are no personas[/]")


@app.command("import")
def import_file(
    file: Annotated[str, typer.Argument(help="JSON lines with id and text; - is standard input.")],
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Write a persona for each line of a file. An import that was stopped goes on from there.

    Lines that are wrong are named, and stop nothing; the exit code is then 1.
    """
    from app.commands import persona_files

    with reported(STOPPED if file == PIPE else GOES_ON):
        gateway = Gateway(url, key)
        if file == PIPE:
            progress = Progress()
            with _bar("import", None) as show:
                persona_files.send(sys.stdin.buffer, gateway, progress, show)
        else:
            path = Path(file)
            journal = persona_files.import_journal(path, gateway)
            progress = journal.read()
            _say_where(progress, path)
            size = path.stat().st_size
            with persona_files.opened(path, progress) as source, _bar("import", size) as show:
                persona_files.send(source, gateway, progress, _noting(journal, show))
            journal.remove()
        _report(progress, as_json)


@app.command("export")
def export_file(
    file: Annotated[str, typer.Argument(help="The file to write; - is standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Write all personas as JSON lines. An export that was stopped goes on from there."""
    from app.commands import persona_files

    with reported(STOPPED if file == PIPE else GOES_ON):
        gateway = Gateway(url, key)
        if file == PIPE:
            with _bar("export", None) as show:
                persona_files.fetch(gateway, sys.stdout.buffer, Progress(), show)
            sys.stdout.flush()
            return
        path = Path(file)
        if path.is_dir() or (path.exists() and not force):
            raise InvalidRequest(f"{path} is there already: name another, or replace it by --force")
        part = path.with_name(f"{path.name}.part")
        journal = persona_files.export_journal(part, gateway)
        progress = journal.read() if part.exists() else Progress()
        _say_where(progress, path)
        with persona_files.part_of(part, progress) as target, _bar("export", None) as show:
            noted = _noting(journal, show, target.flush)
            persona_files.fetch(gateway, target, progress, noted)
        os.replace(part, path)
        journal.remove()
        _report(progress, as_json)


def _noting(
    journal: Journal,
    show: Callable[[Progress], None],
    flush: Callable[[], None] = lambda: None,
) -> Callable[[Progress], None]:
    def note(progress: Progress) -> None:
        flush()
        journal.write(progress)
        show(progress)

    return note


@contextlib.contextmanager
def _bar(what: str, total_bytes: int | None) -> Iterator[Callable[[Progress], None]]:
    """A bar on the terminal, where there is one."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[written]:,} personas"),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if total_bytes else []),
    ]
    with Bars(*columns, console=errors, disable=not errors.is_terminal) as bars:
        task = bars.add_task(what, total=total_bytes, written=0)

        def show(progress: Progress) -> None:
            bars.update(task, completed=progress.offset, written=progress.written)

        yield show


def _say_where(progress: Progress, path: Path) -> None:
    if progress.lines:
        said = f"goes on with {path} after line {progress.lines:,}"
        errors.print(escape(said), soft_wrap=True)


def _report(progress: Progress, as_json: bool) -> None:
    if as_json:
        _print_json({name: getattr(progress, name) for name in REPORTED})
    else:
        for error in progress.errors[:SHOWN_ERRORS]:
            said = f"line {error['line']}: {harmless(error['message'])}"
            errors.print(f"[yellow]{escape(said)}[/]", soft_wrap=True)
        if progress.refused > SHOWN_ERRORS:
            errors.print(f"[yellow]and {progress.refused - SHOWN_ERRORS:,} more[/]")
        refused = f", {progress.refused:,} refused" if progress.refused else ""
        console.print(f"{progress.written:,} personas of {progress.lines:,} lines{refused}")
    if progress.refused:
        raise typer.Exit(1)


def _attribute(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidRequest(f"--attribute {text}: write NAME=VALUE")
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    is_number = isinstance(read, int | float) and math.isfinite(read)
    return name, read if is_number else value


def _path(persona_id: str) -> str:
    return f"/v1/personas/{quote(persona_id, safe='')}"


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False))
