"""Items: questions with their answers, personas and traces, and the rows that training reads.

An item is one JSON line. It carries a trace for each mode, so that a forced mode can be trained to
behave as its name says: general leaves the persona aside, personalised considers it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast, get_args

from pydantic import Field, TypeAdapter, ValidationError

from model.errors import PersonaDualError
from model.mode import Mode, Tags
from model.persona import Attribute
from model.prompt import PromptForm, render
from model.reading import read_choice
from model.reply import CLOSE, OPEN
from training import rewards

_OPTION = re.compile(r"^[ \t]*\(?([A-J])[).:][ \t]+(.*\S)", re.MULTILINE)


class DataInvalid(PersonaDualError):
    """A data file holds a line that is no item."""


class Kind(StrEnum):
    """What an item asks for: a fact, something that follows from the persona, or a chat turn."""

    OBJECTIVE = "objective"
    PERSONALIZED = "personalized"
    CHAT = "chat"


class Condition(StrEnum):
    """Which persona stands in the prompt."""

    NONE = "none"
    ALIGNED = "aligned"
    UNALIGNED = "unaligned"


@dataclass(frozen=True, slots=True)
class Trace:
    """How a mode answers: reasoning, then the answer."""

    reasoning: str
    answer: str


def _mode_of(fields: dict[str, Any]) -> Mode:
    is_personal = fields.get("kind") is Kind.PERSONALIZED
    return Mode.PERSONALIZED if is_personal else Mode.GENERAL


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `mode` is the one its kind asks for; `answers` are the accepted ones, compared
    by `match` (training.rewards); a chat turn has none and is not judged.

    `entity` is what it is about: items of the two splits share none. `is_hard`: its surface speaks
    for the other mode. `attributes`: what is known of each persona (occupation, age, ...).
    `condition`: the persona that training shows it under; where there is none, one is drawn.
    A file may leave out what has a default here; only training needs traces.
    """

    id: str
    kind: Kind
    topic: Annotated[str, Field(default="")]
    entity: Annotated[str, Field(default="")]
    is_hard: Annotated[bool, Field(default=False)]
    mode: Annotated[Mode, Field(default_factory=_mode_of)]
    question: str
    answers: list[str]
    match: str
    personas: dict[Condition, str]
    traces: Annotated[dict[Mode, Trace], Field(default_factory=dict)]
    attributes: dict[Condition, dict[str, Attribute]] = field(default_factory=dict)
    condition: Condition | None = None

    @property
    def options(self) -> dict[str, str]:
        """The options that the question lists, by letter."""
        return dict(_OPTION.findall(self.question))


_ITEM = TypeAdapter(Item)


def from_line(line: str) -> Item:
    """The item of a JSON line.

    Raises:
        ValidationError: it is none.
    """
    return _ITEM.validate_json(line)


def to_line(item: Item) -> str:
    fields = asdict(item)
    for name in ("attributes", "condition"):
        if not fields[name]:
            del fields[name]
    return json.dumps(fields, ensure_ascii=False)


def first_wrong(error: ValidationError) -> str:
    """The first wrong field and what is wrong with it; its value is not repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "(the whole)"
    return f"{where}: {first['msg']}"


def load_items(path: Path) -> list[Item]:
    """Read a JSONL file.

    Raises:
        DataInvalid: the file is missing, or a line is no item; it names line and field.
    """
    try:
        # Only line feeds end a line: JSON strings may hold the other separators that Unicode has.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            item = from_line(line)
        except ValidationError as error:
            raise DataInvalid(f"{path}, line {number}: {first_wrong(error)}") from error
        if item.id in seen:
            raise DataInvalid(
                f"{path}, line {number}: id {item.id} stands on line {seen[item.id]} already"
            )
        if wrong := flaw(item):
            raise DataInvalid(f"{path}, line {number}: {wrong}")
        seen[item.id] = number
        items.append(item)
    return items


def flaw(item: Item) -> str | None:
    """What makes an item that is well formed impossible to judge: the field, and why."""
    kinds = get_args(rewards.Kind)
    if item.match not in kinds:
        return f"match: must be one of {', '.join(kinds)}"
    if not item.answers and item.kind is not Kind.CHAT:
        return f"answers: an item of kind {item.kind} needs one"
    for place, answer in enumerate(item.answers):
        try:
            rewards.matches("", [answer], cast(rewards.Kind, item.match))
        except ValueError as error:
            return f"answers.{place}: {error}"
        letter = read_choice(answer) if item.match == "mcq" else None
        if letter and item.options and letter not in item.options:
            return f"answers.{place}: the question has no option {letter}"
    return None


def save_items(items: Iterable[Item], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{to_line(item)}\n" for item in items), encoding="utf-8")


def messages(item: Item, condition: Condition, form: PromptForm) -> list[dict[str, Any]]:
    """The prompt of an item, by the gateway's own renderer."""
    persona = None if condition is Condition.NONE else item.personas[condition]
    return render(persona, [{"role": "user", "content": item.question}], form)


def write_reply(trace: Trace, tag: str = "") -> str:
    """A reply in the grammar of design 4.2."""
    return f"{tag}{trace.reasoning}\n\n{OPEN}{trace.answer}{CLOSE}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of SFT. `opening` is given and not trained: the tag, where a mode was forced."""

    messages: list[dict[str, Any]]
    opening: str
    completion: str


def sft_rows(
    items: Sequence[Item],
    form: PromptForm,
    tags: Tags,
    *,
    seed: int,
    forced: float = 0.4,
    only_mode: Mode | None = None,
) -> Iterator[Row]:
    """Each item in the mode that it asks for, and a share of those with a trace in the other mode
    in that one too.

    In the other mode the tag belongs to the prompt: the reply is trained, the choice is not.
    An item stands under its own `condition`. Where it has none, general rows stand half under an
    unaligned persona and a quarter each under an aligned one and none; personalised ones under the
    aligned one. A tenth of these stands under none, in general mode, where they have a trace for
    it: nothing is known that could be used.

    With `only_mode` there is no choice to learn: as many rows, all in that mode, under a persona.
    """
    rng = random.Random(seed)
    for item in items:
        if only_mode is not None:
            for _ in range(1 + (rng.random() < forced)):
                condition = _draw_persona(item, only_mode, rng)
                yield _row(item, condition, only_mode, form, tags, is_forced=False)
            continue
        condition = _draw(item, rng)
        mode = Mode.GENERAL if condition is Condition.NONE else item.mode
        yield _row(item, condition, mode, form, tags, is_forced=False)
        other = Mode.GENERAL if item.mode is Mode.PERSONALIZED else Mode.PERSONALIZED
        if rng.random() < forced and other in item.traces:
            condition = _draw_persona(item, other, rng)
            yield _row(item, condition, other, form, tags, is_forced=True)


def _draw(item: Item, rng: random.Random) -> Condition:
    if item.condition is not None:
        return item.condition
    if item.mode is Mode.PERSONALIZED:
        # Without a persona the question is a general one, which needs a general trace.
        is_bare = rng.random() < 0.1 and Mode.GENERAL in item.traces
        return Condition.NONE if is_bare else Condition.ALIGNED
    return rng.choice([Condition.UNALIGNED, Condition.UNALIGNED, Condition.ALIGNED, Condition.NONE])


def _draw_persona(item: Item, mode: Mode, rng: random.Random) -> Condition:
    """Any persona, for a mode that is not chosen."""
    condition = Condition.UNALIGNED if rng.random() < 0.5 else Condition.ALIGNED
    # A fact keeps its answer under any persona; what a persona decides needs the one it is.
    if item.kind is not Kind.OBJECTIVE and mode is Mode.PERSONALIZED:
        return Condition.ALIGNED
    return condition


def _row(
    item: Item, condition: Condition, mode: Mode, form: PromptForm, tags: Tags, *, is_forced: bool
) -> Row:
    if mode not in item.traces:
        raise DataInvalid(f"item {item.id} has no trace for {mode} mode; training needs one")
    tag, trace = tags[mode], item.traces[mode]
    asked = messages(item, condition, form)
    if is_forced:
        return Row(asked, tag, write_reply(trace))
    return Row(asked, "", write_reply(trace, tag))
