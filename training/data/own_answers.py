"""Own answers: what a model says in general mode, without any persona, becomes an item's trace.

Right or wrong: SFT on such items does not teach what is right, but that the same is said whoever
asks (docs/training.md, Settling).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from model.mode import Mode
from training.data.journal import Journal
from training.data.progress import Board
from training.data.recipe import TeacherSettings
from training.data.teacher import Dropped, Named, Teacher, TeacherFailed
from training.items import Item, Kind, Trace

NAMED = Named("URL, MODEL and --api-key", "MODEL and --max-tokens")


def asked(url: str, model: str, *, concurrency: int, max_tokens: int) -> TeacherSettings:
    """How the model is asked: greedily, by the alias of its general mode, as nobody."""
    return TeacherSettings(
        url=url,
        model=f"{model}-{Mode.GENERAL}",
        concurrency=concurrency,
        max_tokens=max_tokens,
        # Null, so that no persona of the caller's key slips in.
        extra={"personadual": {"persona_id": None}},
    )


async def ask(
    items: Sequence[Item], settings: TeacherSettings, api_key: str, journal: Path, console: Console
) -> tuple[list[Item], Counter[str]]:
    """`with_own_answers` of an endpoint; what has a reply in the journal is not asked again.

    Raises:
        DataInvalid: the journal cannot be used.
        TeacherFailed: the model cannot be asked, or no reply can be used.
    """
    with Journal(journal, again=True) as kept:
        async with Teacher(settings, api_key, kept, NAMED, with_reasoning=True) as teacher:
            with Board(console, settings, teacher.meter) as board:
                return await with_own_answers(items, teacher, board)


async def with_own_answers(
    items: Sequence[Item], teacher: Teacher, board: Board
) -> tuple[list[Item], Counter[str]]:
    """Items whose general trace is the model's reply, and how many have none, by its reason.

    A fact keeps no other trace: what is right is not to be learnt here.

    Raises:
        TeacherFailed: the model cannot be asked, or no reply can be used.
    """
    dropped: Counter[str] = Counter()

    async def one(item: Item) -> Item | None:
        try:
            text, reasoning = await teacher.reply([{"role": "user", "content": item.question}])
            # Of a reply that opens no answer the gateway gives the whole as both.
            if reasoning.strip() in ("", text.strip()):
                raise Dropped("no answer behind reasoning")
        except Dropped as error:
            dropped[str(error)] += 1
            board.show(0)
            return None
        board.show(1)
        others = {} if item.kind is Kind.OBJECTIVE else item.traces
        own = Trace(reasoning.strip(), text.strip())
        return replace(item, traces={**others, Mode.GENERAL: own})

    with board.stage("own answers", len(items)):
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(item)) for item in items]
        except BaseExceptionGroup as errors:
            # One failure ends them all; the others only say the same.
            raise errors.exceptions[0] from None
    kept = [item for task in tasks if (item := task.result()) is not None]
    if not kept:
        raise TeacherFailed(f"no reply can be used ({said(dropped)})")
    return kept, dropped


def said(dropped: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
