"""Personalised questions whose answer fits what the persona says without repeating it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.pocket.side import Side
from training.pocket.wish import Wish, because, offered, whoever_asks
from training.pocket.words import read_words


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


WORDS = read_words(__file__, Words)


def draw(rng: random.Random, side: Side) -> Wish:
    """Draw a question; half of them offer what suits others as options."""
    name = rng.choice(sorted(WORDS.tastes))
    taste = rng.choice(WORDS.tastes[name])
    topic, says = rng.choice(sorted(taste.suits)), rng.choice(side.words(taste.says))
    asked, answer = rng.choice(side.words(WORDS.asks[topic])), rng.choice(taste.suits[topic])
    usual = WORDS.usual[topic]
    wish = Wish(
        topic=topic,
        entity=f"{name}: {says}",
        is_hard=False,
        question=asked,
        says=says,
        why=because(says, answer),
        answer=answer,
        accepted=list(taste.suits[topic]),
        match="text",
        usual=usual,
        whoever=whoever_asks(usual),
    )
    if rng.random() < 0.5:
        return wish
    rivals = [
        rng.choice(other.suits[topic])
        for other in WORDS.tastes[name]
        if other is not taste and topic in other.suits
    ]
    return offered(rng, wish, rivals[:2])
