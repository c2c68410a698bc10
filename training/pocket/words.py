"""The words of the set: each module's own TOML file, of the module's name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def read_words(beside: str, kind: type[T]) -> T:
    """The TOML file of a module's name, as `kind`."""
    text = Path(beside).with_suffix(".toml").read_text(encoding="utf-8")
    return TypeAdapter(kind).validate_python(tomllib.loads(text))
