"""The command `personadual doctor`: is this machine fit to serve, and if not, what to fix."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.commands.gateway import DEFAULT_URL, AsJson, Gateway, Key, Url
from app.serve.whereabouts import DATA
from model.console import console, reported

app = typer.Typer()


@app.command()
def doctor(
    data: Annotated[Path, typer.Option(help="Folder of `personadual serve`.")] = DATA,
    model: Annotated[
        Path | None,
        typer.Option(help="Checkpoint folder to serve; else the one that is set, else Pocket."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Check this machine, and say what to fix.

    What `personadual serve` needs here, or how the gateway that runs here does. Exit code 1 where
    there is something to fix.
    """
    with reported():
        gateway = Gateway(url, key)
        with console.status("looking …"):
            # It looks at everything and imports everything: once the options are right.
            from app.commands.checks import findings

            found = []
            for one in findings(gateway, data, model):
                found.append(one)
                if not as_json:
                    mark = "[red]✗[/]" if one.is_wrong else "[yellow]![/]" if one.is_note else None
                    line = f"{mark or '[green]✓[/]'} {one.name:<9} {escape(one.says)}"
                    console.print(line, soft_wrap=True)
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
    if any(one.is_wrong for one in found):
        raise typer.Exit(1)
