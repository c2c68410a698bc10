"""How far a transfer of a file got: a small file beside it, so that the same command goes on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from model.errors import InvalidRequest

FORMAT = 1


@dataclass
class Progress:
    """What is done of a file: `offset` bytes in `lines` lines; of the wrong ones the first.

    `last_id`: of an export.
    """

    offset: int = 0
    lines: int = 0
    written: int = 0
    refused: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    last_id: str | None = None


class Journal:
    """The progress of one transfer, `of` which tells it from any other.

    It is written as a whole or not at all, and only after what it tells of.
    """

    def __init__(self, path: Path, of: dict[str, Any]) -> None:
        self._path = path
        self._of = {"format": FORMAT, **of}

    def read(self) -> Progress:
        """Where to go on: at the start, if there is no journal or it is that of another."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if {name: found[name] for name in self._of} != self._of:
                return Progress()
            return Progress(**{each.name: found[each.name] for each in fields(Progress)})
        except (OSError, ValueError, KeyError, TypeError):
            return Progress()

    def write(self, progress: Progress) -> None:
        """Raises InvalidRequest: there is no place for it."""
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            beside.write_text(json.dumps({**self._of, **asdict(progress)}), encoding="utf-8")
            os.replace(beside, self._path)
        except OSError as error:
            raise InvalidRequest(
                f"the journal {self._path} cannot be written ({error.strerror}): work on a copy"
                " elsewhere, or use - and a pipe"
            ) from error

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
