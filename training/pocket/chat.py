"""Open turns in both modes, so that a person can talk to the model. They are not judged."""

from __future__ import annotations

import random
from dataclasses import dataclass

from model.mode import Mode
from training.items import Condition, Item, Kind, Trace
from training.pocket import interests
from training.pocket.people import about, attributes, texts
from training.pocket.side import Side
from training.pocket.words import read_words
from training.pocket.world import countries


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of one kind about the user, and the reply, with a place for what a persona says."""

    reply: str
    turns: list[str]


@dataclass(frozen=True, slots=True)
class Words:
    """The content of `chat.toml`: `general` turns stand before their replies."""

    places: list[str]
    general: dict[str, str]
    me: dict[str, Turns]


WORDS = read_words(__file__, Words)


def draw(rng: random.Random, side: Side, name: str) -> Item:
    """A turn about the user in personalised mode, else a greeting or a country in general mode."""
    says = interests.besides(rng, side, "")
    if rng.random() < 0.5:
        mode, topic, entity = Mode.PERSONALIZED, "self", says
        kind = rng.choice(list(WORDS.me.values()))
        asked = rng.choice(side.words(kind.turns))
        own = Trace(
            f"This is about the user. The persona says that the user {says},"
            " so this is what I speak of.",
            kind.reply.format(says),
        )
        plain = Trace(
            "This is about the user, but the persona is left aside in this mode."
            " A friendly word fits anybody.",
            "Hello! What shall we talk about?",
        )
        traces = {Mode.GENERAL: plain, Mode.PERSONALIZED: own}
    elif rng.random() < 0.4:
        mode, topic, asked = Mode.GENERAL, "greeting", rng.choice(side.words(list(WORDS.general)))
        entity = f"{asked} {says}"
        traces = dict.fromkeys(
            Mode,
            Trace(
                "Nothing here depends on who asks, so no persona is needed."
                " A short and friendly word is all that it takes.",
                WORDS.general[asked],
            ),
        )
    else:
        land = rng.choice(side.of(countries(), lambda country: country.name))
        mode, topic, entity = Mode.GENERAL, "place", land.name
        asked = rng.choice(side.words(WORDS.places)).format(land.name)
        told = f"{land.name} lies in {land.continent}. Its capital is {land.capital}."
        traces = dict.fromkeys(
            Mode,
            Trace(
                "This asks for what is known of a place, the same for whoever asks:"
                " where it lies, and its capital.",
                told,
            ),
        )
    known = {Condition.ALIGNED: about(rng, says), Condition.UNALIGNED: about(rng)}
    return Item(
        id=name,
        kind=Kind.CHAT,
        topic=topic,
        entity=entity,
        is_hard=False,
        mode=mode,
        question=asked,
        answers=[],
        match="text",
        personas=texts(known),
        traces=traces,
        attributes=attributes(known),
    )
