"""The commands `personadual config ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.access.policies import read_policy
from app.commands.gateway import AsJson
from model.console import console, reported

app = typer.Typer(help="Check files that a gateway reads.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Check files that a gateway reads."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A policy file (TOML).")],
    as_json: AsJson = False,
) -> None:
    """Check a policy file, as a gateway does before it uses one."""
    with reported():
        policy = read_policy(file)
        if as_json:
            sizes = {name: len(getattr(policy, name)) for name in ("tenants", "keys", "off")}
            typer.echo(json.dumps({"file": str(file), **sizes}))
            return
        counts = {"tenant": policy.tenants, "key": policy.keys, "off rule": policy.off}
        found = [
            f"{len(those)} {name}{'' if len(those) == 1 else 's'}" for name, those in counts.items()
        ]
        console.print(f"{escape(str(file))} is a valid policy: {', '.join(found)}")
