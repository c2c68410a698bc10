"""Questions whose right answer follows from the persona, and the personas they follow from.

A `Trait` is something true of a user; a `Question` offers things that suit some traits and not
others. In general mode the same question gets its `usual` answer, whoever asks.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from training.pocket.side import Side


@dataclass(frozen=True, slots=True)
class Taste:
    """A way to be, as personas say it, and what suits it in each topic."""

    name: str
    says: list[str]
    suits: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `tastes.toml`."""

    names: list[str]
    jobs: list[str]
    towns: list[str]
    pets: list[str]
    hard: list[str]
    usual: dict[str, str]
    asks: dict[str, list[str]]
    tastes: dict[str, list[Taste]]


WORDS = TypeAdapter(Words).validate_python(
    tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A question, what suits, why, what the usual answer is, and who asks."""

    topic: str
    entity: str
    question: str
    answers: list[str]
    why: str
    usual: str
    persona: str
    is_choice: bool = False


def about(rng: random.Random, says: str | None = None) -> str:
    """A persona of two to four sentences; `says` stands at a random place among them."""
    name = rng.choice(WORDS.names)
    lines = [
        f"lives in {rng.choice(WORDS.towns)}",
        f"works as a {rng.choice(WORDS.jobs)}",
        f"has {rng.choice(WORDS.pets)}",
        f"is {rng.randint(19, 78)} years old",
    ]
    lines = rng.sample(lines, rng.randint(1, 3))
    if says is not None:
        lines.insert(rng.randint(0, len(lines)), says)
    return " ".join(f"{name} {line}." for line in lines)


def unrelated(rng: random.Random, topic: str) -> str:
    """A persona with a taste that the topic does not ask for."""
    pool = [taste for kind in WORDS.tastes.values() for taste in kind if topic not in taste.suits]
    return about(rng, rng.choice(rng.choice(pool).says))


def wish(rng: random.Random, side: Side) -> Wish:
    """Draw a question; half of them offer options."""
    while True:
        group = WORDS.tastes[rng.choice(sorted(WORDS.tastes))]
        taste = rng.choice(group)
        topic = rng.choice(sorted(taste.suits))
        job = rng.choice(WORDS.asks[topic])
        answer = rng.choice(taste.suits[topic])
        entity = f"{topic} {taste.name} {answer} {job}"
        if side.has(entity):
            break
    persona = about(rng, rng.choice(taste.says))
    why = f"The user is {taste.name}, so {answer.rstrip('.')} fits best."
    if rng.random() < 0.5:
        return Wish(topic, entity, job, list(taste.suits[topic]), why, WORDS.usual[topic], persona)
    rivals = [
        rng.choice(other.suits[topic])
        for other in group
        if other is not taste and topic in other.suits
    ]
    options = [answer, *rivals[:2]]
    rng.shuffle(options)
    question = f"{job}\n" + "\n".join(f"{'ABC'[i]}) {option}" for i, option in enumerate(options))
    return Wish(topic, entity, question, ["ABC"[options.index(answer)]], why, "A", persona, True)
