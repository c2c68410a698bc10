"""Readings: whether a text answers an item, read exactly and read with leniency.

Exactly: the answer alone, as training rewards it. Leniently: the accepted answer stands in the
text as whole words, or is the option that it names first; a model that knows nothing of our
grammar is judged by what it says, not by its form. What is right exactly is right leniently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from model.reading import read_choice, read_text
from training import rewards
from training.items import Item, Kind

_NUMBERS = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
# A letter with a sign that makes it an option: "(B)", "B.", "**B**", "option B", "answer is B".
_LETTERS = re.compile(
    r"\(([A-J])\)|\*\*([A-J])\*\*|(?<!\w)([A-J])[).:](?!\w)"
    r"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer(?:\s+is)?):?\s+([A-J])\b"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """None where the item is not judged."""

    exact: bool | None
    lenient: bool | None


def read_answer(item: Item, text: str) -> Reading:
    """Judge the text of an answer; an empty one is wrong."""
    if item.kind is Kind.CHAT:
        return Reading(None, None)
    given = text.strip()
    exact = rewards.matches(given, item.answers, cast(rewards.Kind, item.match))
    return Reading(exact, exact or _holds(item, given[: rewards.MAX_ANSWER_CHARACTERS]))


def _holds(item: Item, text: str) -> bool:
    if item.match == "mcq":
        chosen = _first_option(text, item.options)
        return chosen in {read_choice(answer) for answer in item.answers} - {None}
    if item.match == "number":
        return any(
            rewards.matches(number.rstrip(","), item.answers, "number")
            for number in _NUMBERS.findall(text)
        )
    return any(_stands(answer, text) for answer in item.answers)


def _first_option(text: str, options: dict[str, str]) -> str | None:
    """The letter named first, else the one option whose text stands there."""
    line = text.split("\n", 1)[0]
    if letter := read_choice(line):
        return letter
    if found := _LETTERS.search(text):
        return next(group for group in found.groups() if group)
    named = [letter for letter, option in options.items() if _stands(option, text)]
    return named[0] if len(named) == 1 else None


def _stands(words: str, text: str) -> bool:
    """Whether these words stand in the text, next to each other, as whole words."""
    wanted, given = read_text(words), read_text(text)
    return bool(wanted) and f" {wanted} " in f" {given or ''} "
