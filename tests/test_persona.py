"""Personas as values: what is one, what is refused by its field, and its text."""

from __future__ import annotations

from typing import Any

import pytest

from model.errors import InvalidRequest
from model.persona import MAX_TEXT_CHARS, Persona, check_id


@pytest.mark.parametrize("text", ["a", "x" * MAX_TEXT_CHARS, "two\nlines\r\nmore", "日本 🦊"])
def test_personas_that_are_fine(text: str) -> None:
    assert Persona(text).text == text


@pytest.mark.parametrize(
    "text",
    ["", "  \n ", "x" * (MAX_TEXT_CHARS + 1), "a\x00b", "a\tb", "a\x1b[2J", "\ud800", "\x9f"],
)
def test_personas_that_are_refused(text: str) -> None:
    """1 to 8,000 characters, and of control characters line breaks alone."""
    with pytest.raises(InvalidRequest) as refused:
        Persona(text)
    assert refused.value.field == "text"


@pytest.mark.parametrize(
    "attributes",
    [{"": "x"}, {"a": ""}, {"a": "x\x00"}, {"a\n\x01": 1}, {str(n): n for n in range(65)}],
)
def test_attributes_that_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Persona("text", attributes)
    assert refused.value.field == "attributes"


@pytest.mark.parametrize(
    "persona_id", ["u42", "a.b@c.example", "x" * 128, "team:7~v=2+1", "auth0|507f1f"]
)
def test_ids_that_are_fine(persona_id: str) -> None:
    assert check_id(persona_id, "user") == persona_id


@pytest.mark.parametrize("persona_id", ["", " ", "a b", "a\n", "a/b", "é", "x" * 129, "x" * 10_000])
def test_ids_that_are_refused_by_the_name_of_their_field(persona_id: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_id(persona_id, "user")
    assert refused.value.field == "user"
    assert persona_id.strip() not in refused.value.message or len(persona_id.strip()) < 2


def test_attributes_are_lines_of_the_persona() -> None:
    assert (
        Persona("Vegan.", {"city": "Lisbon", "age": 7}).as_text() == "Vegan.\ncity: Lisbon\nage: 7"
    )
