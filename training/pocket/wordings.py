"""A second held-out suite: questions in words that nothing in the set has, written by hand.

What is held out of the set proper shares no entity with its training sides, but is asked by the
same generator: its wordings stand there too. How well a mode is chosen behind them, this tells.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from model.mode import Mode
from training.items import Condition, Item, Kind
from training.pocket.people import about, attributes, texts
from training.pocket.words import read_words
from training.rewards import Match


@dataclass(frozen=True, slots=True)
class Question:
    """A fact, with the `wrong` answer that a persona pulls toward, or a wish, with what a persona
    `says`; `a` are the accepted answers."""

    q: str
    a: list[str]
    match: Match | None = None
    wrong: str = ""
    says: str = ""
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `wordings.toml`: by `near` and `far`."""

    facts: dict[str, list[Question]]
    wishes: dict[str, list[Question]]


WORDS = read_words(__file__, Words)


def make(seed: object) -> list[Item]:
    """All of them, each with an aligned and an unaligned persona; no traces."""
    rng = random.Random(f"{seed} wordings")
    return [
        _item(rng, f"{kind.name.lower()}-{distance}-{place:02d}", kind, distance, question)
        for kind, by_distance in (
            (Kind.OBJECTIVE, WORDS.facts),
            (Kind.PERSONALIZED, WORDS.wishes),
        )
        for distance, questions in by_distance.items()
        for place, question in enumerate(questions)
    ]


def _item(rng: random.Random, name: str, kind: Kind, distance: str, question: Question) -> Item:
    is_fact = kind is Kind.OBJECTIVE
    known = {
        Condition.ALIGNED: about(rng, *([] if is_fact else [question.says])),
        Condition.UNALIGNED: about(rng, *([f"is sure it is {question.wrong}"] if is_fact else [])),
    }
    return Item(
        id=name,
        kind=kind,
        topic=distance,
        entity=question.q,
        is_hard=question.hard,
        mode=Mode.GENERAL if is_fact else Mode.PERSONALIZED,
        question=question.q,
        answers=question.a,
        match=question.match or ("text" if is_fact else "mention"),
        personas=texts(known),
        traces={},
        attributes=attributes(known),
    )
