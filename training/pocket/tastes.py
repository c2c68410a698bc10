"""Personalised questions whose answer fits what the persona says without repeating it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.pocket.people import read_toml
from training.pocket.side import Side
from training.pocket.wish import Wish, because, with_options


@dataclass(frozen=True, slots=True)
class Taste:
    """A way to be, as personas say it, and what suits it in each topic."""

    says: list[str]
    suits: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `tastes.toml`."""

    usual: dict[str, str]
    asks: dict[str, list[str]]
    tastes: dict[str, list[Taste]]


WORDS = read_toml(__file__, Words)


def draw(rng: random.Random, side: Side) -> Wish:
    """Draw a question; half of them offer what suits others as options."""
    while True:
        name = rng.choice(sorted(WORDS.tastes))
        taste = rng.choice(WORDS.tastes[name])
        topic, says = rng.choice(sorted(taste.suits)), rng.choice(taste.says)
        asked, answer = rng.choice(WORDS.asks[topic]), rng.choice(taste.suits[topic])
        entity = f"{asked} {says} {answer}"
        if side.has(entity):
            break
    why, usual = because(says, answer), WORDS.usual[topic]
    if rng.random() < 0.5:
        accepted = list(taste.suits[topic])
        return Wish(topic, entity, False, asked, says, why, answer, accepted, "text", usual)
    rivals = [
        rng.choice(other.suits[topic])
        for other in WORDS.tastes[name]
        if other is not taste and topic in other.suits
    ]
    question, letter = with_options(rng, asked, [answer, *rivals[:2]], answer)
    why = f"{why} That is option {letter}."
    return Wish(topic, entity, False, question, says, why, letter, [letter], "mcq", "A")
