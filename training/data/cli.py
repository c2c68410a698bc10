"""The commands `personadual data ...`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from model.console import console, reported
from training.config import ConfigInvalid
from training.data.recipe import Recipe, check_files, load_recipe

data_app = typer.Typer(help="Build training data from sources and a teacher.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Build training data from sources and a teacher."""


@data_app.command()
def build(
    recipe: Annotated[Path, typer.Argument(help="TOML file; `configs/` has an example.")],
    again: Annotated[
        bool, typer.Option("--again", help="Ask once more for what failed in an earlier run.")
    ] = False,
    allow_short: Annotated[
        bool, typer.Option("--allow-short", help="Do not fail where rows are short of the quotas.")
    ] = False,
) -> None:
    """Build SFT and RL files; a killed build goes on when called again, and asks nothing twice.

    A quota that is not met ends it with status 1; the files then hold what there is.
    """
    with reported("stopped; the journal keeps what was answered, run it again to go on"):
        read = load_recipe(recipe)
        check_files(read, recipe)
        api_key = _api_key(read, recipe)
        # The client and the readers come after the recipe is known to be right.
        from training.data import build as use_case
        from training.data.progress import Reading

        with Reading(console) as reading:
            found = use_case.read_input(read, reading.show)
        console.print(f"  {sum(map(len, found.pools))} questions to choose from")
        built = asyncio.run(use_case.build(read, found, api_key, console, again=again))
        console.print(built.ledger.table())
        spent = built.meter
        console.print(
            f"  {spent.replies} replies ({spent.asked} requests in this run),"
            f" {spent.prompt_tokens + spent.completion_tokens} tokens,"
            f" {spent.usd(read.teacher):.2f} USD"
        )
        console.print(f"  written: {escape(str(built.report))}", soft_wrap=True)
        if not allow_short:
            built.ledger.require()
        elif built.ledger.short():
            console.print(f"  [yellow]{built.ledger.short()} short of the quotas[/yellow]")


def _api_key(recipe: Recipe, path: Path) -> str:
    """The key from the variable that the recipe names; servers of one's own need none."""
    name = recipe.teacher.api_key_env
    if name is None:
        return "none"
    key = os.environ.get(name, "")
    if not key:
        raise ConfigInvalid(f"{path}: teacher.api_key_env: the variable {name} is not set")
    return key
