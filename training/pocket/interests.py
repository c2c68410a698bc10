"""Personalised questions whose answer repeats a word of the persona: it must be read there.

The values of a group (80 hobbies, 56 foods ...) are what the split is about: a held-out persona
speaks of a hobby that no training persona had.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from training.pocket.side import Side
from training.pocket.wish import Wish, because, offered, whoever_asks
from training.pocket.words import read_words
from training.rewards import Match


@dataclass(frozen=True, slots=True)
class Topic:
    """How it is asked, what suits a value `{x}`, and the usual answer."""

    asks: list[str]
    answers: list[str]
    usual: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Interest:
    """Values, what a persona says of one, and the topics that ask for it."""

    values: list[str]
    says: list[str]
    topics: dict[str, Topic]


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `interests.toml`."""

    near: dict[str, list[str]]
    interests: dict[str, Interest]


WORDS = read_words(__file__, Words)
_TOPICS = [(name, topic) for name, group in WORDS.interests.items() for topic in group.topics]


def draw(rng: random.Random, side: Side) -> Wish:
    """Draw a question; a third of those with several answers offer options."""
    while True:
        # Topics, not groups, are drawn evenly: each is a question to learn.
        name, topic_name = rng.choice(_TOPICS)
        values = _values(side, name)
        if len(values) >= 3:
            break
    group = WORDS.interests[name]
    topic = group.topics[topic_name]
    value, *others = rng.sample(values, 3)
    says, answer = rng.choice(group.says).format(x=value), rng.choice(topic.answers)
    question, text = rng.choice(side.words(topic.asks)), answer.format(x=value)
    match: Match = "number" if value.isdigit() else "mention"
    accepted = [text if match == "number" else value]
    wish = Wish(
        topic=topic_name,
        entity=f"{name} {value}",
        is_hard=topic.hard,
        question=question,
        says=says,
        why=because(says, text),
        answer=text,
        accepted=accepted,
        match=match,
        usual=topic.usual,
        whoever=whoever_asks(topic.usual),
    )
    if topic.hard or rng.random() < 2 / 3:
        return wish
    return offered(rng, wish, [rng.choice(topic.answers).format(x=other) for other in others])


def besides(rng: random.Random, side: Side, topic: str) -> str:
    """What a persona may also say, that is no answer to the topic."""
    near = WORDS.near.get(topic, [])
    name = rng.choice(
        [
            name
            for name, group in WORDS.interests.items()
            if topic not in group.topics and name not in near and _values(side, name)
        ]
    )
    says = rng.choice(WORDS.interests[name].says)
    return says.format(x=rng.choice(_values(side, name)))


@cache
def _values(side: Side, name: str) -> list[str]:
    return side.of(WORDS.interests[name].values, lambda value: f"{name} {value}")
