"""Validation: the first of what pydantic finds wrong, where and what; never the value itself."""

from __future__ import annotations

from pydantic import ValidationError

from model.errors import InvalidRequest

_OWN_WORDS = "Value error, "
"""Pydantic's, before what our own checks say."""

# Names of union members stand in pydantic's paths; they are its words, not the caller's.
_UNION_MEMBERS = {"str", "int", "float", "bool", "list[dict[str,any]]", "list[str]"}


def first_wrong(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Where the first wrong value stands, and what is wrong with it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return first["loc"], first["msg"].removeprefix(_OWN_WORDS)


def dotted(place: tuple[int | str, ...]) -> str:
    """A place as people write it: `sources.0.files`."""
    return ".".join(map(str, place)) or "(the whole)"


def describe(error: ValidationError) -> str:
    """The first wrong field and what is wrong with it, as one line."""
    place, said = first_wrong(error)
    return f"{dotted(place)}: {said}"


def from_validation(error: ValidationError) -> InvalidRequest:
    """Name the first wrong field; nothing of its value is repeated."""
    where, said = first_wrong(error)
    field = ".".join(str(part) for part in where if str(part) not in _UNION_MEMBERS) or "body"
    return InvalidRequest(f"{field}: {said}", field=field)
