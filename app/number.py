"""Numbers as JSON has them: it knows one kind, so that 5.0 is the integer 5."""

from __future__ import annotations

from typing import Any

from pydantic import BeforeValidator


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For a strict `int`: takes 5.0 too, which some writers of JSON send, and no text or boolean."""
