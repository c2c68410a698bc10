"""Build: sources and a teacher in, SFT and RL files out; the use case, from top to bottom.

Everything that can be wrong with the input is found before the teacher is asked anything. Where we
leave the paper: the prompt is our renderer's, answers stand in our reply grammar and not in JSON,
personas of questions are written by the recipe's teacher, validation rows are not training rows,
and some RL rows stand under no persona.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from model.card import Card
from training.cards import card_of
from training.data.assign import split
from training.data.journal import Journal
from training.data.ledger import Ledger
from training.data.pools import read_pools
from training.data.progress import Board
from training.data.prompts import Prompts
from training.data.recipe import Recipe, Source
from training.data.sources import Question, personas
from training.data.teacher import Dropped, Meter, Teacher, TeacherFailed, together
from training.data.traces import Maker
from training.data.write import write, write_report
from training.items import DataInvalid, Item

JOURNAL = "journal.jsonl"
BARREN = 200
"""So many questions in a row of which nothing is kept end their stage: more would only cost."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a build reads: `pools` in the order of the recipe's sources."""

    pools: list[list[Question]]
    personas: list[str]
    card: Card
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: the row counts by file, and the report's path."""

    ledger: Ledger
    meter: Meter
    counts: dict[str, int]
    report: Path


@dataclass(slots=True)
class _Made:
    sft: list[Item] = field(default_factory=list)
    rl: list[Item] = field(default_factory=list)


def read_input(recipe: Recipe, show: Callable[[str], None] = lambda what: None) -> Input:
    """Read every source, test set and persona of a recipe, or what an earlier run drew of them.

    `show` is told what is being read, and how far.

    Raises:
        DataInvalid: a row cannot be read, or a source has fewer questions than its quotas.
    """
    card = card_of(recipe.model) if recipe.model else Card()
    ledger = Ledger()
    show("personas")
    people = personas(recipe.personas, ledger.dropped)
    if not people:
        raise DataInvalid("personas: there are none")
    pools = read_pools(recipe, ledger.dropped, show)
    return Input(pools, people, card, ledger)


async def build(
    recipe: Recipe, found: Input, api_key: str, console: Console, *, again: bool = False
) -> Built:
    """Ask the teacher for what the journal lacks, and write the files.

    A build that was killed goes on when called again; with the same journal it writes the same
    files. `again` asks once more for what failed in an earlier run.

    Raises:
        TeacherFailed: the teacher cannot be used, or nothing was kept.
        DataInvalid: the journal or an output file cannot be used.
    """
    path = recipe.out / JOURNAL
    with Journal(path, again=again) as journal:
        prompts = Prompts(recipe.teacher.max_trace_words, found.card.tags)
        made = _Made()
        async with Teacher(recipe.teacher, api_key, journal) as teacher:
            maker = Maker(teacher, prompts, found.personas, recipe.seed)
            with Board(console, recipe.teacher, teacher.meter) as board:
                for source, pool in zip(recipe.sources, found.pools, strict=True):
                    await _make(source, deque(pool), maker, found.ledger, board, made)
    if not made.sft and not made.rl:
        reasons = sorted({reason for _source, reason in found.ledger.dropped})
        raise TeacherFailed(f"nothing could be kept ({', '.join(reasons)}){teacher.see(reasons)}")
    sft, rl = split([made.sft, made.rl], recipe.validation, recipe.seed)
    counts = write(sft, rl, recipe, found.card)
    report = write_report(recipe, found.ledger, teacher.meter, counts, path)
    return Built(found.ledger, teacher.meter, counts, report)


async def _make(
    source: Source, pool: deque[Question], maker: Maker, ledger: Ledger, board: Board, made: _Made
) -> None:
    """The three stages of a source, from one pool: no question is used twice.

    A stage leaves the later ones as many questions as their quotas: it may need more than its own.
    """
    stages: tuple[tuple[str, int, _MakeOne, list[Item]], ...] = (
        ("sft personalized", source.sft_personalized, maker.personalized, made.sft),
        ("sft general", source.sft_general, maker.general, made.sft),
        ("rl", source.rl, maker.reinforced, made.rl),
    )
    later = source.quota
    for stage, quota, make, kept in stages:
        later -= quota
        ledger.wanted[source.title, stage] = quota
        if not quota:
            continue
        mine = deque(pool.popleft() for _ in range(len(pool) - later))
        with board.stage(f"{source.title}, {stage}", quota):
            found, is_barren = await _fill(mine, quota, make, ledger, board)
        pool.extendleft(reversed(mine))
        if is_barren:
            board.tell(
                f"{source.title}, {stage}: ended, as {BARREN} questions in a row gave nothing"
            )
        ledger.kept[source.title, stage] = len(found)
        kept += found


_MakeOne = Callable[[Question], Awaitable[Item]]


async def _fill(
    pool: deque[Question], quota: int, make: _MakeOne, ledger: Ledger, board: Board
) -> tuple[list[Item], bool]:
    """Take questions until the quota is met or the pool is empty, or `BARREN` of them in a row
    gave nothing, which the second value says.

    They go in waves as large as what is missing, and are settled in their order: which ones are
    tried then depends on the replies alone, not on which came first.
    """

    async def one(question: Question) -> Item | Dropped:
        try:
            item = await make(question)
        except Dropped as dropped:
            board.show(0)
            return dropped
        board.show(1)
        return item

    kept: list[Item] = []
    barren = 0
    while len(kept) < quota and pool and barren < BARREN:
        wave = [pool.popleft() for _ in range(min(quota - len(kept), len(pool)))]
        async with together() as group:
            tasks = [group.create_task(one(question)) for question in wave]
            for question, task in zip(wave, tasks, strict=True):
                made = await task
                if isinstance(made, Dropped):
                    barren += 1
                    ledger.dropped[question.source, str(made)] += 1
                else:
                    barren = 0
                    kept.append(made)
                if barren == BARREN:
                    break
            for task in tasks:
                task.cancel()
    return kept, barren == BARREN
