"""Persona: what we know of a user. A value, valid from the moment it exists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model.errors import InvalidRequest

MAX_TEXT_CHARS = 8_000
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTE_CHARS = 1_000
MAX_ID_CHARS = 128

Attribute = str | int | float | bool

ID_CHARACTERS = "letters, digits, . _ @ : + ~ = | -"
ID_CLASS = r"A-Za-z0-9._@:+~=|-"
"""The same within the brackets of a pattern."""
CONTROL_CLASS = r"\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f"
"""C0 and C1 control characters but for line feed and carriage return."""
_ID = re.compile(f"[{ID_CLASS}]+")
# Lone surrogates too, which no UTF-8 body can carry onwards.
_FORBIDDEN = re.compile(rf"[{CONTROL_CLASS}\ud800-\udfff]")


class PersonaStatus(StrEnum):
    """What became of the persona in one answer."""

    APPLIED = "applied"  # it was in the context of the answer
    WITHHELD = "withheld"  # there is one, and it was kept out of the context
    ABSENT = "absent"  # no id was given, or nothing is stored under it
    UNAVAILABLE = "unavailable"  # the store did not answer


@dataclass(frozen=True, slots=True)
class Persona:
    """Text of 1 to 8,000 characters and optional attributes; `version` counts the writes.

    Raises:
        InvalidRequest: naming the field that is wrong.
    """

    text: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    version: int = 0
    updated_at: str | None = None

    def __post_init__(self) -> None:
        check_text(self.text, "text")
        if len(self.attributes) > MAX_ATTRIBUTES:
            raise InvalidRequest(
                f"attributes holds {len(self.attributes)} entries; at most {MAX_ATTRIBUTES} fit",
                field="attributes",
            )
        for name, value in self.attributes.items():
            for part in (name, value) if isinstance(value, str) else (name,):
                if not 0 < len(part) <= MAX_ATTRIBUTE_CHARS or _FORBIDDEN.search(part):
                    raise InvalidRequest(
                        f"attributes: names and values have 1 to {MAX_ATTRIBUTE_CHARS} characters"
                        " and no control characters",
                        field="attributes",
                    )

    def as_text(self) -> str:
        """The persona as the prompt carries it: the text, then a line per attribute."""
        lines = [self.text, *(f"{name}: {value}" for name, value in self.attributes.items())]
        return "\n".join(lines)


def check_text(text: str, field_name: str) -> None:
    """Hold the rule for persona text, wherever it comes from.

    Raises:
        InvalidRequest: it is empty or too long, or has control characters other than line breaks.
    """
    if not text.strip():
        raise InvalidRequest(f"{field_name} must not be empty", field=field_name)
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRequest(
            f"{field_name} has {len(text)} characters; at most {MAX_TEXT_CHARS} fit",
            field=field_name,
        )
    found = _FORBIDDEN.search(text)
    if found:
        raise InvalidRequest(
            f"{field_name} holds the control character U+{ord(found.group()):04X} at index"
            f" {found.start()}; line breaks alone are allowed",
            field=field_name,
        )


def is_id(text: str) -> bool:
    """Whether a text can be a persona's id."""
    return len(text) <= MAX_ID_CHARS and bool(_ID.fullmatch(text))


def check_id(persona_id: str, field_name: str) -> str:
    """Return a valid persona id.

    Raises:
        InvalidRequest: it is empty or too long, or has other characters than letters, digits and
            `. _ @ : + ~ = | -`.
    """
    if len(persona_id) > MAX_ID_CHARS:
        raise InvalidRequest(
            f"{field_name} has {len(persona_id)} characters; at most {MAX_ID_CHARS} fit",
            field=field_name,
        )
    if not _ID.fullmatch(persona_id):
        raise InvalidRequest(
            f"{field_name} must be 1 to {MAX_ID_CHARS} of: {ID_CHARACTERS}",
            field=field_name,
        )
    return persona_id
