"""A personalised question, open or with options: what suits its user, and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.rewards import Match

LETTERS = "ABCD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A question of which the persona decides the answer.

    `says` is the line of the persona that decides. `accepted` counts as right, compared by
    `match`. `usual` is the answer to whoever asks, and `whoever` how general mode comes to it.
    """

    topic: str
    entity: str
    is_hard: bool
    question: str
    says: str
    why: str
    answer: str
    accepted: list[str]
    match: Match
    usual: str
    whoever: str


def offered(rng: random.Random, wish: Wish, rivals: Sequence[str]) -> Wish:
    """The same with options: what suits the user, what would suit others, and the usual choice."""
    question, letters = with_options(rng, wish.question, [wish.answer, wish.usual, *rivals])
    right, usual = letters[wish.answer], letters[wish.usual]
    return replace(
        wish,
        question=question,
        why=f"{wish.why} That is option {right}.",
        answer=right,
        accepted=[right],
        match="mcq",
        usual=usual,
        whoever=f"{wish.whoever} That is option {usual}.",
    )


def because(says: str, text: str) -> str:
    return (
        f"The answer depends on who asks. The persona says that the user {says}."
        f" This fits: {text.rstrip('.')}."
    )


def whoever_asks(usual: str) -> str:
    return (
        "The answer could depend on who asks, but the persona is left aside."
        f" The usual choice: {usual.rstrip('.')}."
    )


def with_options(
    rng: random.Random, question: str, options: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """The question with its options in random order, and the letter of each."""
    letters = dict(zip(rng.sample(list(options), len(options)), LETTERS, strict=False))
    lines = (f"{letter}) {option}" for option, letter in letters.items())
    return "\n".join([question, *lines]), letters
