"""Personas: what is said of a user, in several styles."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.persona import Attribute, Persona
from training.items import Condition
from training.pocket.words import read_words


@dataclass(frozen=True, slots=True)
class People:
    """The content of `people.toml`."""

    names: list[str]
    jobs: list[str]
    towns: list[str]
    homes: list[str]
    countries: list[str]


PEOPLE = read_words(__file__, People)
GENDERS = ["woman", "man"]


def about(rng: random.Random, *says: str) -> Persona:
    """A persona that holds what it `says` of its user, at random places among one to three others.

    Each of `says` is what stands behind "she": "is vegan". Its attributes are what the text tells
    of town, country, occupation, age and gender.
    """
    town, occupation = rng.choice(PEOPLE.towns), rng.choice(PEOPLE.jobs)
    home, age = rng.choice(PEOPLE.homes), rng.randint(19, 78)
    country, gender = rng.choice(PEOPLE.countries), rng.choice(GENDERS)
    told: dict[str, dict[str, Attribute]] = {
        f"lives in {town}": {"town": town},
        f"works as a {occupation}": {"occupation": occupation},
        home: {},
        f"is {age} years old": {"age": age},
        f"comes from {country}": {"country": country},
        f"is a {gender}": {"gender": gender},
    }
    lines = rng.sample(list(told), rng.randint(1, 3))
    attributes = {name: value for line in lines for name, value in told[line].items()}
    for one in says:
        lines.insert(rng.randint(0, len(lines)), one)
    return Persona(_written(rng, lines), attributes)


def texts(personas: Mapping[Condition, Persona]) -> dict[Condition, str]:
    return {condition: persona.text for condition, persona in personas.items()}


def attributes(personas: Mapping[Condition, Persona]) -> dict[Condition, dict[str, Attribute]]:
    return {condition: dict(persona.attributes) for condition, persona in personas.items()}


def _written(rng: random.Random, lines: Sequence[str]) -> str:
    name = rng.choice(PEOPLE.names)
    style = rng.randrange(4)
    if style == 0:
        return " ".join(f"{name} {line}." for line in lines)
    if style == 1:
        return " ".join([f"{name} {lines[0]}.", *(f"The user {line}." for line in lines[1:])])
    if style == 2:
        *others, last = lines
        return f"The user {', '.join(others)} and {last}." if others else f"The user {last}."
    # As people note things: "Is vegan" loses its verb, other verbs stay.
    noted = [line.removeprefix("is ") for line in lines]
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in noted)
