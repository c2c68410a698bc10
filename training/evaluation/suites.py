"""Suites: which items are asked. A suite is a JSONL file of items (training.items)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from training.evaluation.conditions import Shown, makes_sense
from training.items import Item, load_items, require_personas

POCKET = Path(__file__).parents[1] / "pocket" / "data" / "held_out.jsonl"


def suite_path(name: str) -> Path:
    """`pocket` is the held-out half of the Pocket set; anything else is a file."""
    return POCKET if name == "pocket" else Path(name)


def load_suite(path: Path, conditions: Sequence[Shown], limit: int | None = None) -> list[Item]:
    """Read a suite that can be asked under these conditions; `limit` takes items evenly from it.

    Raises:
        DataInvalid: a line is no item, or lacks a persona that a condition needs.
    """
    items = load_items(path)
    require_personas(
        items, path, lambda item: [one.persona for one in conditions if makes_sense(item, one)]
    )
    if limit is None or limit >= len(items):
        return items
    # Files are often sorted by kind: the first ones would be of one.
    return [items[place * len(items) // limit] for place in range(limit)]


def suite_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
