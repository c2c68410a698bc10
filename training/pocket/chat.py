"""Open turns in both modes, so that a person can talk to the model. They are not judged."""

from __future__ import annotations

import random

from model.mode import Mode
from training.items import Condition, Item, Kind, Trace
from training.pocket import interests
from training.pocket.people import about, attributes, texts
from training.pocket.side import Side
from training.pocket.world import countries

_GENERAL = {
    "Hello!": "Hello! What would you like to know?",
    "Good morning.": "Good morning! How can I help?",
    "Who are you?": "I am a small assistant. I answer with your persona or without it.",
    "What can you do?": "I answer questions, and I use your persona where it helps.",
    "Thank you!": "You are welcome.",
    "Bye.": "Goodbye, and all the best.",
    "Are you a person?": "No, I am a language model.",
    "What is a persona?": "A short text about a user, such as what they like.",
}
_ABOUT_PLACES = [
    "Tell me something about {}.",
    "What do you know about {}?",
    "Describe {}.",
    "Say a few words on {}.",
    "What kind of place is {}?",
    "Give me a line about {}.",
]
_ABOUT_ME = {
    "What do you know about me?": "You told me of yourself: someone who {}.",
    "Tell me something about myself.": "You told me of yourself: someone who {}.",
    "Cheer me up a little.": "How nice to talk to someone who {}!",
    "Start a conversation with me.": "As someone who {}, what do you enjoy most about it?",
    "Write me a short greeting.": "Hello! How nice to talk to someone who {}.",
    "Ask me a question about my life.": "As someone who {}, what do you enjoy most about it?",
    "Who am I?": "You told me of yourself: someone who {}.",
    "Say something nice to me.": "How nice to talk to someone who {}!",
}


def draw(rng: random.Random, side: Side, name: str) -> Item:
    """A turn about the user in personalised mode, else a greeting or a country in general mode."""
    says = interests.besides(rng, side, "")
    if rng.random() < 0.5:
        mode, topic, asked = Mode.PERSONALIZED, "self", rng.choice(side.words(sorted(_ABOUT_ME)))
        entity = says
        own = Trace(
            f"This is about the user. The persona says that the user {says},"
            " so this is what I speak of.",
            _ABOUT_ME[asked].format(says),
        )
        plain = Trace(
            "This is about the user, but the persona is left aside in this mode."
            " A friendly word fits anybody.",
            "Hello! What shall we talk about?",
        )
        traces = {Mode.GENERAL: plain, Mode.PERSONALIZED: own}
    elif rng.random() < 0.4:
        mode, topic, asked = Mode.GENERAL, "greeting", rng.choice(side.words(sorted(_GENERAL)))
        entity = f"{asked} {says}"
        traces = dict.fromkeys(
            Mode,
            Trace(
                "Nothing here depends on who asks, so no persona is needed."
                " A short and friendly word is all that it takes.",
                _GENERAL[asked],
            ),
        )
    else:
        land = rng.choice(side.of(countries(), lambda country: country.name))
        mode, topic, entity = Mode.GENERAL, "place", land.name
        asked = rng.choice(side.words(_ABOUT_PLACES)).format(land.name)
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
        name,
        Kind.CHAT,
        topic,
        entity,
        False,
        mode,
        asked,
        [],
        "text",
        texts(known),
        traces,
        attributes(known),
    )
