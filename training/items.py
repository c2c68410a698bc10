"""Items: questions with their answers, personas and traces.

An item is one JSON line. It carries a trace for each mode, so that a forced mode can be trained to
behave as its name says: general leaves the persona aside, personalised considers it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from model.errors import PersonaDualError
from model.mode import Mode
from model.persona import Attribute
from model.prompt import PromptForm, render
from model.reading import read_choice
from model.reply import CLOSE, OPEN
from model.validation import describe
from training.rewards import Match, matches

_OPTION = re.compile(r"^[ \t]*\(?([A-J])[).:][ \t]+(.*\S)", re.MULTILINE)


class DataInvalid(PersonaDualError):
    """A data file holds a line that is no item."""

    code = "data_invalid"


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


@dataclass(frozen=True, slots=True, kw_only=True)
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
    match: Match
    personas: dict[Condition, str]
    traces: Annotated[dict[Mode, Trace], Field(default_factory=dict)]
    attributes: dict[Condition, dict[str, Attribute]] = field(default_factory=dict)
    condition: Condition | None = None

    @property
    def options(self) -> dict[str, str]:
        """The options that the question lists, by letter."""
        return dict(_OPTION.findall(self.question))

    @property
    def accepted_options(self) -> frozenset[str]:
        """The letters of the accepted answers: none where its answers are no options."""
        return frozenset(letter for one in self.answers if (letter := read_choice(one)))


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
            raise DataInvalid(f"{path}, line {number}: {describe(error)}") from error
        if item.id in seen:
            raise DataInvalid(
                f"{path}, line {number}: id {item.id} is already on line {seen[item.id]}"
            )
        if wrong := flaw(item):
            raise DataInvalid(f"{path}, line {number}: {wrong}")
        seen[item.id] = number
        items.append(item)
    return items


def flaw(item: Item) -> str | None:
    """What makes an item that is well formed impossible to judge: the field, and why."""
    if not item.answers and item.kind is not Kind.CHAT:
        return f"answers: an item of kind {item.kind} needs one"
    for place, answer in enumerate(item.answers):
        try:
            matches("", [answer], item.match)
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


def mode_under(wanted: Mode, condition: str) -> Mode | None:
    """The mode that an answer should have; None where either is right. `wanted` is the item's.

    A question of fact is a general one under any persona. A personal one needs its own persona;
    without any it is a general one, and under another's nothing is expected.
    """
    if wanted is Mode.GENERAL or condition == Condition.NONE:
        return Mode.GENERAL
    return Mode.PERSONALIZED if condition == Condition.ALIGNED else None


def require_personas(
    items: Iterable[Item], path: Path, needed: Callable[[Item], Iterable[Condition]]
) -> None:
    """See that all items of a file have the personas that they are shown under.

    Raises:
        DataInvalid: one lacks a persona; it names line and field.
    """
    for number, item in enumerate(items, start=1):
        for condition in needed(item):
            if condition is not Condition.NONE and condition not in item.personas:
                raise DataInvalid(
                    f"{path}, line {number}: personas.{condition}: the condition {condition}"
                    " needs it"
                )
