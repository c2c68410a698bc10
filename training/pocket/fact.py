"""A question of fact: how it is asked, and how its wrong answers are drawn."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from training.pocket.side import Side
from training.pocket.words import read_words
from training.rewards import Match


@dataclass(frozen=True, slots=True)
class Fact:
    """A question, its answer, why (it ends in the answer), and wrong answers."""

    topic: str
    entity: str
    question: str
    answer: str
    why: str
    wrong: list[str] = field(default_factory=list)
    match: Match = "text"


@dataclass(frozen=True, slots=True)
class Topic:
    """`what` is asked for; `knows`: what a persona says whom it helps to know it."""

    what: str
    knows: str


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `fact.toml`."""

    personally: list[str]
    pulls: list[str]
    topics: dict[str, Topic]
    asks: dict[str, list[str]]


WORDS = read_words(__file__, Words)


def ask(rng: random.Random, side: Side, way: str, *about: object) -> str:
    """A question in a wording of that side."""
    return rng.choice(side.words(WORDS.asks[way])).format(*about)


def others(rng: random.Random, pool: list[str], answer: str) -> list[str]:
    """Three wrong answers of the pool."""
    return rng.sample(sorted({text for text in pool if text != answer}), 3)
