"""Readings: whether a text answers an item, read exactly and read with leniency.

Exactly: the answer alone, as training rewards it. Leniently: the accepted answer stands in the
text as whole words, or is the option that it settles on; a model that knows nothing of our
grammar is judged by what it says, not by its form. What is right exactly is right leniently.

What stands in the question too may only be repeated: it counts where none of its rivals there is
named beside it. This is too strict with "Peru is larger than Laos", and right about "Between Peru
and Laos, it is Laos".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from model.reading import read_number, read_text
from training import rewards
from training.evaluation.choosing import chosen
from training.items import Item, Kind

_NUMBERS = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_WORDS = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_SMALL = frozenset({"a", "an", "the", "in", "on", "at", "of", "to"})


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
    exact = rewards.matches(given, item.answers, item.match)
    return Reading(exact, exact or _holds(item, given[: rewards.MAX_ANSWER_CHARACTERS]))


def read_claim(item: Item, text: str, claim: str) -> Reading:
    """Whether the text of an answer is a false claim of the same form."""
    return read_answer(replace(item, answers=[claim]), text)


def _holds(item: Item, text: str) -> bool:
    if item.match == "mcq":
        return _option(text, item.options) in item.accepted_options
    if item.match == "number":
        return _says_number(item, text)
    return any(_says(answer, text, item.question) for answer in item.answers)


def _says_number(item: Item, text: str) -> bool:
    said, asked = ([n.rstrip(",") for n in _NUMBERS.findall(one)] for one in (text, item.question))

    def is_right(number: str) -> bool:
        return rewards.matches(number, item.answers, "number")

    rivals = {read_number(number) for number in asked if not is_right(number)}
    is_named = any(map(is_right, asked)) and any(read_number(n) in rivals for n in said)
    return any(map(is_right, said)) and not is_named


def _says(answer: str, text: str, question: str) -> bool:
    if not _stands(answer, question):
        return _stands(answer, text)
    left = _without_echo(text, question, len((read_text(answer) or "").split()))
    return _stands(answer, " ".join(left)) and not any(
        rival in left or (rival.islower() and rival in map(str.casefold, left))
        for rival in _rivals(question, answer)
    )


def _without_echo(text: str, question: str, size: int) -> list[str]:
    """The words of a text without its runs of more than `size` words that stand in the question."""
    words = _WORDS.findall(text)
    asked = f" {' '.join(_WORDS.findall(question)).casefold()} "
    left: list[str] = []
    place = 0
    while place < len(words):
        end = place
        while end < len(words) and f" {' '.join(words[place : end + 1]).casefold()} " in asked:
            end += 1
        if end - place > size:
            place = end
        else:
            left.append(words[place])
            place += 1
    return left


def _rivals(question: str, answer: str) -> set[str]:
    """Words of a question that another answer could be: its names, and what an "or" stands by."""
    words = _WORDS.findall(question)
    found = {word for word in words if word[0].isupper()}
    for place, word in enumerate(words):
        if word.casefold() == "or":
            behind = (one for one in words[place + 1 :] if one.casefold() not in _SMALL)
            found |= {*words[max(place - 1, 0) : place], next(behind, "")}
    own = {word.casefold() for word in _WORDS.findall(answer)}
    return {word for word in found if word and word.casefold() not in own}


def _option(text: str, options: dict[str, str]) -> str | None:
    """The letter that a text settles on, else the one option whose text stands there."""
    found = chosen(text)
    if found is not None:
        return found or None
    named = [letter for letter, option in options.items() if _stands(option, text)]
    return named[0] if len(named) == 1 else None


def _stands(words: str, text: str) -> bool:
    """Whether these words stand in the text, next to each other, as whole words."""
    wanted, given = read_text(words), read_text(text)
    return bool(wanted) and f" {wanted} " in f" {given or ''} "
