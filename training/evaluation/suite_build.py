"""A suite of a public set: which of its items are drawn, and which personas stand beside them.

As in the paper the unaligned persona of an item is one of PersonaHub, drawn at random, and the
aligned one of a question of fact is written by a model from the question alone. A set whose answers
follow from personas brings the aligned ones, and without PersonaHub lends them to its other items.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.ledger import Ledger
from training.data.progress import Board
from training.data.prompts import persona_wish
from training.data.recipe import Rows
from training.data.sample import rank
from training.data.sources import Skip
from training.data.teacher import Dropped, Teacher, TeacherFailed, together
from training.evaluation.public import items_of
from training.items import Condition, DataInvalid, Item

STAGE = "items"
HEARD_EVERY = 1000
"""Rows from one word of progress to the next."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn: `limit` items of a set, read from `rows` (training.evaluation.public)."""

    name: str
    rows: Rows
    columns: dict[str, str]
    limit: int
    seed: int


def draw(wanted: Wanted, ledger: Ledger, heard: Callable[[int], None]) -> list[Item]:
    """Items in an order that depends on the seed and their ids alone; `heard` gets the
    number of rows read so far.

    Raises:
        DataInvalid: a row cannot be read, or none can be used.
    """
    ledger.wanted[wanted.name, STAGE] = wanted.limit
    found = heapq.nsmallest(
        wanted.limit,
        _usable(wanted, ledger, heard),
        key=lambda item: rank(wanted.seed, "draw", item.id),
    )
    if not found:
        reasons = ", ".join(sorted({reason for _set, reason in ledger.dropped})) or "it is empty"
        raise DataInvalid(f"{wanted.name}: no row can be used ({reasons})")
    ledger.kept[wanted.name, STAGE] = len(found)
    return found


def _usable(wanted: Wanted, ledger: Ledger, heard: Callable[[int], None]) -> Iterator[Item]:
    seen: set[str] = set()
    for count, found in enumerate(items_of(wanted.name, wanted.rows, wanted.columns), start=1):
        if count % HEARD_EVERY == 0:
            heard(count)
        if isinstance(found, Skip):
            ledger.dropped[wanted.name, found.reason] += 1
        elif found.id in seen:
            ledger.dropped[wanted.name, "duplicate"] += 1
        else:
            seen.add(found.id)
            yield found


def with_unaligned(items: Sequence[Item], people: Sequence[str], seed: int) -> list[Item]:
    """Each item with a persona drawn from `people`, which is not its own.

    Raises:
        DataInvalid: there is no other persona.
    """
    own = {item.personas.get(Condition.ALIGNED, "") for item in items}
    pool = list(people) or sorted(own - {""})
    if len(pool) < 1 + any(own):
        raise DataInvalid("personas: too few to give each item one that is not its own")
    given: list[Item] = []
    for item in items:
        place = rank(seed, "persona", item.id) % len(pool)
        if pool[place] == item.personas.get(Condition.ALIGNED):
            place = (place + 1) % len(pool)
        given.append(replace(item, personas={**item.personas, Condition.UNALIGNED: pool[place]}))
    return given


async def with_aligned(
    items: Sequence[Item], teacher: Teacher, ledger: Ledger, board: Board, name: str
) -> list[Item]:
    """Each item with a persona that the teacher writes from its question; without one it is left
    out, and counted.

    Raises:
        TeacherFailed: the teacher cannot be used, or wrote none.
    """
    reasons: set[str] = set()

    async def one(item: Item) -> Item | None:
        try:
            persona = await teacher.ask(persona_wish(item.question))
        except Dropped as error:
            reasons.add(str(error))
            ledger.dropped[name, f"aligned persona: {error}"] += 1
            board.show(0)
            return None
        board.show(1)
        return replace(item, personas={**item.personas, Condition.ALIGNED: persona})

    with board.stage("aligned personas", len(items)):
        async with together() as group:
            tasks = [group.create_task(one(item)) for item in items]
    kept = [item for task in tasks if (item := task.result()) is not None]
    if not kept:
        raise TeacherFailed(
            f"the teacher wrote no persona that could be used ({', '.join(sorted(reasons))})"
            f"{teacher.see(reasons)}"
        )
    ledger.kept[name, STAGE] = len(kept)
    return kept


def write_note(suite: Path, wanted: Wanted, personas: dict[Condition, str], ledger: Ledger) -> Path:
    """A note beside a suite: what it was made of, kept and dropped. No date: the same suite has
    the same note. `personas`: where those of each condition come from."""
    made_of = {
        "set": wanted.name,
        "from": wanted.rows.model_dump(mode="json", exclude_defaults=True),
        "columns": wanted.columns,
        "seed": wanted.seed,
        "personas": personas,
        "sha256": hashlib.sha256(suite.read_bytes()).hexdigest(),
    }
    told = json.dumps(made_of, indent=2, ensure_ascii=False)
    lines = [f"# {suite.name}", "", ledger.markdown(), "", "```json", told, "```", ""]
    path = suite.with_suffix(".md")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
