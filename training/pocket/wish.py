"""A personalised question, open or with options: what suits its user, and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = "ABCD"


@dataclass(frozen=True, slots=True)
class Wish:
    """A question of which the persona decides the answer.

    `says` is the line of the persona that decides. `accepted` counts as right, compared by
    `match`. `usual` is the answer to whoever asks.
    """

    topic: str
    entity: str
    is_hard: bool
    question: str
    says: str
    why: str
    answer: str
    accepted: list[str]
    match: str
    usual: str


def because(says: str, text: str) -> str:
    return f"The user {says}, so this fits: {text.rstrip('.')}."


def with_options(
    rng: random.Random, question: str, options: Sequence[str], right: str
) -> tuple[str, str]:
    """The question with its options in random order, and the letter of the right one."""
    shuffled = rng.sample(list(options), len(options))
    lines = (f"{LETTERS[place]}) {option}" for place, option in enumerate(shuffled))
    return "\n".join([question, *lines]), LETTERS[shuffled.index(right)]
