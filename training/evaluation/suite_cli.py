"""The command `personadual evaluate suite`: a suite of a public set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from model.console import console, errors, reported
from model.validation import describe
from training.data.ledger import Ledger
from training.data.recipe import Rows, TeacherSettings
from training.items import Condition, DataInvalid, Item

if TYPE_CHECKING:
    from training.evaluation.suite_build import Wanted

FILES = (".json", ".jsonl", ".parquet")
PERSONA_HUB = "proj-persona/PersonaHub:persona"
GOES_ON = "stopped; the journal keeps what the teacher answered, run it again to go on"


def suite(
    name: Annotated[
        str,
        typer.Argument(
            help="mmlu-pro, supergpqa, triviaqa, pubmedqa, math500, persona-feedback or"
            " fspo-roleplay."
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Files (wildcards allowed), or a data set as NAME:SUBSET:SPLIT."
        ),
    ] = "",
    column: Annotated[
        list[str] | None,
        typer.Option(help="OWN=THEIRS: what the source calls a column of the set."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The suite to write, else NAME.jsonl; a note goes beside it."),
    ] = None,
    personas: Annotated[
        str,
        typer.Option(help="Unaligned ones: PersonaHub's, named like --from; `own`: the set's."),
    ] = PERSONA_HUB,
    teacher: Annotated[
        str,
        typer.Option(help="Writes aligned personas: an endpoint, like http://127.0.0.1:8080."),
    ] = "",
    teacher_model: Annotated[str, typer.Option(help="Its name there.")] = "",
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Send the teacher no temperature and no max_tokens: reasoning models may refuse"
            " them.",
        ),
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 16,
    api_key: Annotated[
        str, typer.Option(envvar="OPENAI_API_KEY", show_envvar=True, help="Key of the teacher.")
    ] = "none",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most this many items; the paper's number if left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which items and which personas.")] = 42,
) -> None:
    """Turn a public set into a suite that `personadual evaluate --suite` takes."""
    if bool(teacher) != bool(teacher_model):
        raise typer.BadParameter("--teacher and --teacher-model go together")
    wanted = _wanted(name, source, _columns(column or []), limit, seed)
    people = None if personas == "own" else _rows(personas, "train")
    writer = _teacher(teacher, teacher_model, concurrency, plain) if teacher else None
    target = out or Path(f"{name}.jsonl")
    if target.resolve() in {path.resolve() for path in wanted.rows.paths()}:
        raise typer.BadParameter(f"{target} is the source itself", param_hint="--out")
    with reported(GOES_ON):
        _make(wanted, people, writer, api_key, target)


def _wanted(
    name: str, source: str, columns: dict[str, str], limit: int | None, seed: int
) -> Wanted:
    # The readers are brought along only here: other commands need none.
    from training.evaluation.public import PUBLIC
    from training.evaluation.suite_build import Wanted

    if name not in PUBLIC:
        raise typer.BadParameter(f"choose from {', '.join(PUBLIC)}", param_hint="NAME")
    public = PUBLIC[name]
    rows = _rows(source, "test") if source else public.rows
    if rows is None:
        raise typer.BadParameter(
            f"{name} has no known location; name its files", param_hint="--from"
        )
    return Wanted(name, rows, columns, limit or public.items, seed)


def _make(
    wanted: Wanted, people: Rows | None, writer: TeacherSettings | None, api_key: str, out: Path
) -> None:
    from training.data.sources import personas as read_personas
    from training.evaluation.suite_build import draw, with_unaligned, write_note
    from training.items import save_items

    ledger = Ledger()
    with console.status("rows …") as status:
        items = draw(wanted, ledger, lambda count: status.update(f"{count} rows …"))
        status.update("personas …")
        items = with_unaligned(items, read_personas(people) if people else [], wanted.seed)
    aligned = "of the set"
    if Condition.ALIGNED not in items[0].personas:
        aligned = f"written by {writer.model}" if writer else "none"
        if writer is not None:
            items = asyncio.run(_write_aligned(items, writer, api_key, out, ledger, wanted.name))
    unaligned = str(people.datasets or people.files[0]) if people else "of the set"
    sources = {Condition.ALIGNED: aligned, Condition.UNALIGNED: unaligned}
    try:
        save_items(items, out)
        note = write_note(out, wanted, sources, ledger)
    except OSError as error:
        raise DataInvalid(f"{out} cannot be written: {error.strerror or error}") from error
    console.print(ledger.table())
    if ledger.short():
        errors.print(f"  [yellow]{ledger.short()} fewer items than asked for[/yellow]")
    if aligned == "none":
        errors.print(
            "  [yellow]no aligned personas: name a --teacher, or ask under --conditions"
            " none,unaligned[/yellow]",
            soft_wrap=True,
        )
    console.print(f"  {len(items)} items: {escape(str(out))}, {escape(str(note))}", soft_wrap=True)


async def _write_aligned(
    items: Sequence[Item],
    settings: TeacherSettings,
    api_key: str,
    out: Path,
    ledger: Ledger,
    name: str,
) -> list[Item]:
    from training.data.journal import Journal
    from training.data.progress import Board
    from training.data.teacher import Named, Teacher
    from training.evaluation.suite_build import with_aligned

    named = Named("--teacher, --teacher-model and --api-key", "--teacher-model and --plain")
    with Journal(out.with_suffix(".journal.jsonl")) as journal:
        async with Teacher(settings, api_key, journal, named) as teacher:
            with Board(console, settings, teacher.meter) as board:
                return await with_aligned(items, teacher, ledger, board, name)


def _rows(source: str, split: str) -> Rows:
    """Files if the name ends like one, else a data set; `split` where it names none."""
    if source.endswith(FILES):
        return Rows(files=(Path(source),))
    name, subset, own_split = [*source.split(":"), "", ""][:3]
    return Rows(datasets=name, subset=subset or None, split=own_split or split)


def _teacher(url: str, model: str, concurrency: int, is_plain: bool) -> TeacherSettings:
    plain: dict[str, Any] = {"temperature": None, "max_tokens": None} if is_plain else {}
    try:
        return TeacherSettings(url=url, model=model, concurrency=concurrency, **plain)
    except ValidationError as error:
        raise typer.BadParameter(describe(error), param_hint="--teacher") from error


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        own, sign, theirs = pair.partition("=")
        if not own or not sign or not theirs:
            raise typer.BadParameter(f"{pair}: write OWN=THEIRS", param_hint="--column")
        found[own] = theirs
    return found
