"""Journal: every reply of the teacher, appended as it comes, so that none is asked for twice.

A line is `{"key", "text" or "failure", "prompt_tokens", "completion_tokens"}`, with `reasoning`
where that was asked for too; the key stands for the whole request. It holds personas: it is data,
and lies beside the data.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from model.validation import describe
from training.items import DataInvalid


@dataclass(frozen=True, slots=True)
class Entry:
    """A reply, or why there is none; tokens as the teacher counted them."""

    key: str
    text: str | None = None
    reasoning: str | None = None
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


_ENTRY = TypeAdapter(Entry)


class Journal:
    """Replies by key. One process at a time.

    With `again`, failures of earlier runs do not count: their requests are made once more.

    Raises:
        DataInvalid: it cannot be opened, another build holds it, or a line is none of its own.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise DataInvalid(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._entries = self._load(path, again)
        except OSError as error:
            self._file.close()
            raise DataInvalid(f"{path} is being written by another build") from error
        except DataInvalid:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def add(self, entry: Entry) -> None:
        """Keep an entry, here and in the file; a kill right after it loses nothing.

        Raises:
            DataInvalid: the file cannot be written to.
        """
        self._entries[entry.key] = entry
        line = json.dumps({name: value for name, value in asdict(entry).items() if value})
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataInvalid(f"the journal cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _load(self, path: Path, again: bool) -> dict[str, Entry]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        # A kill in the middle of a line leaves half of it: that reply is asked for again.
        self._file.truncate(whole)
        entries: dict[str, Entry] = {}
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry = _ENTRY.validate_json(line)
            except ValidationError as error:
                raise DataInvalid(f"{path}, line {number}: {describe(error)}") from error
            if entry.failure is None or not again:
                entries[entry.key] = entry
        return entries
