"""Personas: what is said of a user, in several styles."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def read_toml(beside: str, kind: type[T]) -> T:
    """The TOML file of a module's name, as `kind`."""
    text = Path(beside).with_suffix(".toml").read_text(encoding="utf-8")
    return TypeAdapter(kind).validate_python(tomllib.loads(text))


@dataclass(frozen=True, slots=True)
class People:
    """The content of `people.toml`."""

    names: list[str]
    jobs: list[str]
    towns: list[str]
    homes: list[str]


PEOPLE = read_toml(__file__, People)


def about(rng: random.Random, *says: str) -> str:
    """A persona that holds what it `says` of its user, at random places among one to three others.

    Each of `says` is what stands behind "she": "is vegan".
    """
    lines: list[str] = [
        f"lives in {rng.choice(PEOPLE.towns)}",
        f"works as a {rng.choice(PEOPLE.jobs)}",
        rng.choice(PEOPLE.homes),
        f"is {rng.randint(19, 78)} years old",
    ]
    lines = rng.sample(lines, rng.randint(1, 3))
    for one in says:
        lines.insert(rng.randint(0, len(lines)), one)
    return _written(rng, lines)


def _written(rng: random.Random, lines: Sequence[str]) -> str:
    name = rng.choice(PEOPLE.names)
    style = rng.randrange(4)
    if style == 0:
        return " ".join(f"{name} {line}." for line in lines)
    if style == 1:
        return f"{name} {lines[0]}. " + " ".join(f"The user {line}." for line in lines[1:])
    if style == 2:
        return f"The user {', '.join(lines[:-1])} and {lines[-1]}."
    # As people note things: "Is vegan" loses its verb, other verbs stay.
    noted = [line.removeprefix("is ") for line in lines]
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in noted)
