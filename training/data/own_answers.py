"""Own answers: what a model says in general mode, without any persona, becomes an item's trace.

Right or wrong: SFT on such items does not teach what is right, but that the same is said whoever
asks (docs/training.md, Settling).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from model.mode import Mode
from training.data.journal import Journal
from training.data.progress import Board
from training.data.recipe import TeacherSettings
from training.data.teacher import Dropped, Named, Teacher, TeacherFailed, together
from training.items import DataInvalid, Item, Kind, Trace, require_personas
from training.rows import sft_conditions

NAMED = Named("URL, MODEL and --api-key", "MODEL, --max-tokens and --timeout")
ANSWERED = Trace("", "")
UNREASONED = "no answer behind reasoning"


@dataclass(slots=True)
class Own:
    """Items with their own answers, how many have none by its reason, and this run's requests."""

    items: list[Item] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    asked: int = 0


def asked(
    url: str, model: str, *, concurrency: int, max_tokens: int, timeout_s: float
) -> TeacherSettings:
    """How the model is asked: greedily, by the alias of its general mode, as nobody."""
    return TeacherSettings(
        url=url,
        model=f"{model}-{Mode.GENERAL}",
        concurrency=concurrency,
        max_tokens=max_tokens,
        timeout_s=timeout_s,
        # Null, so that no persona of the caller's key slips in.
        extra={"personadual": {"persona_id": None}},
    )


def require_trainable(items: Sequence[Item], path: Path) -> None:
    """See before anything is asked that SFT will take the items once they have their answers.

    Raises:
        DataInvalid: one lacks a persona, or the trace of the personalised mode that it asks for.
    """
    answered = [replace(item, traces={**item.traces, Mode.GENERAL: ANSWERED}) for item in items]
    require_personas(answered, path, lambda item: sft_conditions(item, 1.0, 1.0, None))
    for number, item in enumerate(items, start=1):
        if item.mode is Mode.PERSONALIZED and item.mode not in item.traces:
            raise DataInvalid(
                f"{path}, line {number}: traces.{item.mode}: it asks for this mode, and no other"
                " reply for it is written here"
            )


async def ask(
    items: Sequence[Item], settings: TeacherSettings, api_key: str, journal: Path, console: Console
) -> Own:
    """`with_own_answers` of an endpoint; what has a reply in the journal is not asked again.

    Raises:
        DataInvalid: the journal cannot be used.
        TeacherFailed: the model cannot be asked, or no reply can be used.
    """
    with Journal(journal, again=True) as kept:
        async with Teacher(settings, api_key, kept, NAMED, with_reasoning=True) as teacher:
            with Board(console, settings, teacher.meter) as board:
                own = await with_own_answers(items, teacher, board)
        own.asked = teacher.meter.asked
        return own


async def with_own_answers(items: Sequence[Item], teacher: Teacher, board: Board) -> Own:
    """Items whose general trace is the model's reply.

    A fact keeps no other trace: what is right is not to be learnt here. What else there is, a chat
    turn too that asks for general mode, keeps that of its persona.

    Raises:
        TeacherFailed: the model cannot be asked, or no reply can be used.
    """
    own = Own()

    async def one(item: Item) -> Item | None:
        try:
            text, reasoning = await teacher.reply([{"role": "user", "content": item.question}])
            # Of a reply that opens no answer the gateway gives the whole as both.
            if reasoning.strip() in ("", text.strip()):
                raise Dropped(UNREASONED)
        except Dropped as error:
            own.dropped[str(error)] += 1
            board.show(0)
            return None
        board.show(1)
        others = {} if is_fact(item) else item.traces
        said = Trace(reasoning.strip(), text.strip())
        return replace(item, traces={**others, Mode.GENERAL: said})

    with board.stage("own answers", len(items)):
        async with together() as group:
            tasks = [group.create_task(one(item)) for item in items]
    own.items = [item for task in tasks if (item := task.result()) is not None]
    if not own.items:
        hint = (
            "; is MODEL one of ours, and does its gateway send reasoning"
            " (PERSONADUAL_REASONING_FIELD)?"
        )
        raise TeacherFailed(
            f"no reply can be used ({in_words(own.dropped)}){hint * (UNREASONED in own.dropped)}"
        )
    return own


def is_fact(item: Item) -> bool:
    return item.kind is Kind.OBJECTIVE and item.mode is Mode.GENERAL


def in_words(dropped: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
