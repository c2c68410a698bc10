"""The commands `personadual evaluate ...`."""

from __future__ import annotations

import asyncio
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from model.console import console, errors, reported
from model.mode import Isolation
from training.evaluation.conditions import Shown
from training.evaluation.plan import Plan, asks
from training.evaluation.suite_cli import suite as make_suite
from training.evaluation.suites import load_suite, suite_hash, suite_path
from training.items import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.evaluation.answers import Asked
    from training.evaluation.endpoint import Endpoint
    from training.evaluation.report import Report
    from training.items import Item

evaluate_app = typer.Typer(help="Measure what a persona costs and gives, for any endpoint.")
GOES_ON = "stopped; the same command goes on from the last answer"
FOLDER = Path(".personadual/evaluations")
TEMPERATURE = 0.6
"""Of several seeds; one seed is asked at 0."""
Choice = TypeVar("Choice", bound=StrEnum)

Conditions = Annotated[
    str, typer.Option(help="Comma-separated, of: none, aligned, unaligned, injected.")
]
Isolations = Annotated[str, typer.Option(help="Comma-separated, of: shared, strict.")]
MaxTokens = Annotated[
    int,
    typer.Option(
        min=1, help="Longest answer, reasoning included: 1024 or so for a model that thinks."
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Send no temperature, max_tokens or seed: reasoning models may refuse them.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for answers and report; a run that was stopped goes on there.",
        show_default=f"{FOLDER}/MODEL-SUITE",
    ),
]


@evaluate_app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="The endpoint, like http://127.0.0.1:8080.")] = "",
    model: Annotated[str, typer.Option(help="The model's name there.")] = "",
    suite: Annotated[str, typer.Option(help="`pocket`, or a JSONL file of items.")] = "",
    conditions: Conditions = "none,aligned,unaligned",
    forced: Annotated[bool, typer.Option("--forced", help="Also force each mode.")] = False,
    isolation: Isolations = "shared",
    seeds: Annotated[int, typer.Option(min=1, help="Answers per question.")] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="0 with one seed, else 0.6."),
    ] = None,
    max_tokens: MaxTokens = 128,
    plain: Plain = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most this many items, taken evenly from the suite."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds an attempt may take.")] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="Attempts after the first.")] = 2,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed in an earlier run.")
    ] = False,
    api_key: Annotated[
        str, typer.Option(envvar="OPENAI_API_KEY", show_envvar=True, help="Key of the endpoint.")
    ] = "none",
    out: Out = None,
) -> None:
    """Ask each item under each condition and write report.html and report.json."""
    if context.invoked_subcommand is not None:
        return
    for name, value in (("--url", url), ("--model", model), ("--suite", suite)):
        if not value:
            raise typer.BadParameter("is needed", param_hint=name)
    if plain and temperature is not None:
        raise typer.BadParameter("is not sent with --plain", param_hint="--temperature")
    with reported(GOES_ON):
        plan = Plan(
            conditions=_chosen(Shown, conditions, "--conditions"),
            isolations=_chosen(Isolation, isolation, "--isolation"),
            is_forced=forced,
            seeds=seeds,
            temperature=_temperature(temperature, seeds),
            max_tokens=max_tokens,
            is_plain=plain,
        )
        # The client and the arrays are brought along only here: other commands need neither.
        from training.evaluation import endpoint as endpoints

        folder = out or FOLDER / re.sub(r"[^\w.-]+", "-", f"{model}-{Path(suite).stem}")
        endpoint = endpoints.Endpoint(
            url, model, api_key=api_key, timeout_s=timeout, retries=retries
        )
        report = asyncio.run(
            _evaluate(endpoint, url, suite, plan, folder, limit, concurrency, retry_failed)
        )
        _say(report, folder)


async def _evaluate(
    endpoint: Endpoint,
    url: str,
    suite: str,
    plan: Plan,
    folder: Path,
    limit: int | None,
    concurrency: int,
    again: bool,
) -> Report:
    from training.evaluation.answers import Asked, pin
    from training.evaluation.run import ask_all

    path = suite_path(suite)
    items = load_suite(path, plan.conditions, limit)
    try:
        await endpoint.open()
        asked = Asked(url, endpoint.model, suite, suite_hash(path), limit, endpoint.has_modes, plan)
        pin(folder, asked)
        questions = asks(items, plan, has_modes=endpoint.has_modes)
        await ask_all(
            endpoint, questions, plan, folder, console, concurrency=concurrency, again=again
        )
    finally:
        await endpoint.close()
    return _write_report(asked, items, folder)


def _write_report(asked: Asked, items: Sequence[Item], folder: Path) -> Report:
    from training.evaluation import report as reports
    from training.evaluation.answers import read_answers
    from training.evaluation.page import write_page

    expected = len(asks(items, asked.plan, has_modes=asked.has_modes))
    report = reports.build(asked, items, read_answers(folder), expected=expected)
    try:
        reports.save_report(report, folder / "report.json")
        write_page(report, folder / "report.html")
    except OSError as error:
        raise DataInvalid(
            f"{error.filename or folder} cannot be written: {error.strerror}"
        ) from error
    return report


@evaluate_app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Measure a run's answers again, by this version's measures; nothing is asked."""
    with reported():
        from training.evaluation.answers import read_asked

        asked = read_asked(run)
        path = suite_path(asked.suite)
        if not path.is_file() or suite_hash(path) != asked.suite_sha256:
            raise DataInvalid(
                f"{path} is not there, or not the suite that {run} was asked: its content differs"
            )
        items = load_suite(path, asked.plan.conditions, asked.limit)
        _say(_write_report(asked, items, run), run)


@evaluate_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run of the same suite.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
) -> None:
    """Set two runs side by side, on the items that both asked."""
    with reported():
        from training.evaluation import compare as comparing

        found = comparing.compare(first, second)
        heads = ("Measure", "of", "first", "second", "second minus first (95%)", "p")
        shown = Table(*heads, box=None, header_style="bold")
        for pair in found.pairs:
            of = f"{pair.label.way}, {pair.label.part}"
            shown.add_row(escape(comparing.name(pair)), escape(of), *comparing.cells(pair))
        console.print(shown)
        for note in found.notes:
            errors.print(f"  [yellow]{escape(note)}[/yellow]")
        comparing.write_page(found, out)
        console.print(f"  {found.items} items; page: {escape(str(out))}")


@evaluate_app.command()
def card(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint that it asked.")],
) -> None:
    """Write a run's headline figures into the checkpoint's card."""
    with reported():
        from training.evaluation.carding import write_card

        found = write_card(run, checkpoint)
        console.print(f"  {len(found.evaluation['figures'])} figures in the card of {checkpoint}")


@evaluate_app.command()
def picture(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, to stand side by side.")],
    out: Annotated[Path, typer.Option(help="The picture: .png or .svg.")] = Path("evaluation.png"),
) -> None:
    """Draw what runs got right, with and without a persona, for a README or a talk."""
    with reported():
        from training.evaluation.picture import draw
        from training.evaluation.report import load_report

        draw([load_report(run) for run in runs], out)
        console.print(f"  {out}", markup=False)


evaluate_app.command("suite")(make_suite)


def _say(report: Report, folder: Path) -> None:
    for note in report.notes:
        errors.print(f"  [yellow]{escape(note)}[/yellow]")
    console.print(f"\n[bold]{escape(report.headline.text)}[/bold]\n")
    console.print(f"  {folder / 'report.html'}\n  {folder / 'report.json'}", markup=False)


def _chosen(kind: type[Choice], text: str, option: str) -> tuple[Choice, ...]:
    """Names from a list with commas, each once, in their own order."""
    named = {name.strip() for name in text.split(",")}
    unknown = sorted(named - set(kind))
    if unknown:
        said = f"{', '.join(unknown) or 'nothing'}: choose from {', '.join(kind)}"
        raise typer.BadParameter(said, param_hint=option)
    return tuple(one for one in kind if one in named)


def _temperature(given: float | None, seeds: int) -> float:
    if given is not None:
        return given
    return TEMPERATURE if seeds > 1 else 0.0
