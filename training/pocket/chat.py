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
_ABOUT_PLACES = ["Tell me something about {}.", "What do you know about {}?", "Describe {}."]
_ABOUT_ME = {
    "What do you know about me?": "You told me of yourself: someone who {}.",
    "Tell me something about myself.": "You told me of yourself: someone who {}.",
    "Cheer me up a little.": "How nice to talk to someone who {}!",
    "Start a conversation with me.": "As someone who {}, what do you enjoy most about it?",
    "Write me a short greeting.": "Hello! How nice to talk to someone who {}.",
    "Ask me a question about my life.": "As someone who {}, what do you enjoy most about it?",
}


def draw(rng: random.Random, side: Side, name: str) -> Item:
    """A turn about the user in personalised mode, else a greeting or a country in general mode."""
    says = interests.besides(rng, side, "")
    if rng.random() < 0.5:
        mode, topic, asked = Mode.PERSONALIZED, "self", rng.choice(sorted(_ABOUT_ME))
        entity = says
        own = Trace(f"The user {says}.", _ABOUT_ME[asked].format(says))
        plain = Trace("Whoever asks, a friendly word fits.", "Hello! What shall we talk about?")
        traces = {Mode.GENERAL: plain, Mode.PERSONALIZED: own}
    elif rng.random() < 0.4:
        mode, topic, asked = Mode.GENERAL, "greeting", rng.choice(sorted(_GENERAL))
        entity = f"{asked} {says}"
        traces = dict.fromkeys(Mode, Trace("A friendly word is all it takes.", _GENERAL[asked]))
    else:
        land = rng.choice(side.of(countries(), lambda country: country.name))
        mode, topic, entity = Mode.GENERAL, "place", land.name
        asked = rng.choice(_ABOUT_PLACES).format(land.name)
        told = f"{land.name} lies in {land.continent}. Its capital is {land.capital}."
        traces = dict.fromkeys(Mode, Trace("This asks for what is known of a place.", told))
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
