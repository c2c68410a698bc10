"""The commands `personadual data ...`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape

from model.console import console, errors, reported
from model.validation import describe
from training.config import ConfigInvalid
from training.data.recipe import Recipe, check_files, load_recipe

JOURNAL = ".journal.jsonl"

data_app = typer.Typer(help="Build training data.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Build training data."""


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


@data_app.command("own-answers")
def own_answers(
    url: Annotated[str, typer.Argument(help="The gateway, like http://127.0.0.1:8080.")],
    model: Annotated[str, typer.Argument(help="The model's name there.")],
    items: Annotated[Path, typer.Argument(help="Items (JSONL); their traces may be missing.")],
    out: Annotated[Path, typer.Argument(help="The items to write; a journal goes beside it.")],
    max_tokens: Annotated[
        int,
        typer.Option(min=16, help="Longest reply, reasoning included; a longer one is left out."),
    ] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 16,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a reply may take.")] = 120.0,
    api_key: Annotated[
        str, typer.Option(envvar="OPENAI_API_KEY", show_envvar=True, help="Key of the gateway.")
    ] = "none",
) -> None:
    """Ask a model each question in general mode, without a persona; its replies become the traces.

    The journal keeps what was answered: of a model that was trained anew, under the same name, it
    has to be removed.
    """
    if out.resolve() == items.resolve():
        raise typer.BadParameter(f"{out} holds the questions", param_hint="OUT")
    with reported("stopped; the journal keeps what was answered, run it again to go on"):
        from training.data import own_answers as use_case
        from training.items import DataInvalid, load_items, save_items

        try:
            settings = use_case.asked(
                url, model, concurrency=concurrency, max_tokens=max_tokens, timeout_s=timeout
            )
        except ValidationError as error:
            raise typer.BadParameter(describe(error), param_hint="URL") from error
        questions = load_items(items)
        use_case.require_trainable(questions, items)
        journal = out.with_suffix(JOURNAL)
        own = asyncio.run(use_case.ask(questions, settings, api_key, journal, console))
        try:
            save_items(own.items, out)
        except OSError as error:
            raise DataInvalid(f"{out} cannot be written: {error.strerror or error}") from error
        if own.dropped:
            left = f"{own.dropped.total()} left out ({use_case.in_words(own.dropped)})"
            errors.print(f"  [yellow]{escape(left)}[/yellow]", soft_wrap=True)
        console.print(
            f"  {len(own.items)} items ({own.asked} requests in this run): {escape(str(out))}",
            soft_wrap=True,
        )


def _api_key(recipe: Recipe, path: Path) -> str:
    """The key from the variable that the recipe names; servers of one's own need none."""
    name = recipe.teacher.api_key_env
    if name is None:
        return "none"
    key = os.environ.get(name, "")
    if not key:
        raise ConfigInvalid(f"{path}: teacher.api_key_env: the variable {name} is not set")
    return key
