"""Records: rows of JSON, JSONL and parquet files, or of a data set by name, one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.recipe import Rows
from training.items import DataInvalid

BATCH_ROWS = 1024
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class NoText(DataInvalid):
    """A field of a row is null: the row holds nothing to use, while the others may."""

    code = "no_text"


@dataclass(frozen=True, slots=True)
class Record:
    """A row and the place where it stands, for messages; values are never repeated in them."""

    place: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """The text of a field.

        Raises:
            NoText: the field is null.
            DataInvalid: the field is missing or no text.
        """
        value = self.value(name)
        if value is None:
            raise NoText(self.wrong(name, "must be text").message)
        if not isinstance(value, str):
            raise self.wrong(name, "must be text")
        return value

    def value(self, name: str) -> Any:
        if name not in self.fields:
            raise self.wrong(name, "is missing")
        return self.fields[name]

    def wrong(self, name: str, what: str) -> DataInvalid:
        return DataInvalid(f"{self.place}: {name}: {what}")


def read(rows: Rows) -> Iterator[Record]:
    """All rows, in order.

    Raises:
        DataInvalid: a file, line or row cannot be read.
    """
    if rows.datasets is not None:
        yield from _by_name(rows)
    for path in rows.paths():
        reader = _READERS.get(path.suffix)
        if reader is None:
            raise DataInvalid(f"{path}: name a .json, .jsonl or .parquet file")
        try:
            yield from reader(path)
        except OSError as error:
            raise DataInvalid(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DataInvalid(f"{path} is not UTF-8, at byte {error.start}") from error


def _record(place: str, row: object) -> Record:
    if not isinstance(row, dict):
        raise DataInvalid(f"{place}: must be an object")
    return Record(place, row)


def _parsed(text: str) -> Any:
    """JSON in which halves of surrogate pairs, which no file could hold, are U+FFFD."""
    value = json.loads(text)
    # Text that was read from UTF-8 can only hold them escaped.
    return _mended(value) if re.search(r"\\ud[89a-f]", text, re.IGNORECASE) else value


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    return value


def _jsonl(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = _parsed(line)
            except ValueError as error:
                raise DataInvalid(f"{path}, line {number}: is not JSON") from error
            yield _record(f"{path}, line {number}", row)


def _json(path: Path) -> Iterator[Record]:
    try:
        rows = _parsed(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataInvalid(f"{path}, line {error.lineno}: is not JSON") from error
    if not isinstance(rows, list):
        raise DataInvalid(f"{path}: must be a list of objects")
    for number, row in enumerate(rows, start=1):
        yield _record(f"{path}, row {number}", row)


def _parquet(path: Path) -> Iterator[Record]:
    # The command's help must not wait for pyarrow.
    import pyarrow
    import pyarrow.parquet as parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(f"{path}, row {number}", row)
    except pyarrow.ArrowInvalid as error:
        raise DataInvalid(f"{path}: is not parquet, after row {number}") from error
    except UnicodeDecodeError as error:
        # Parquet does not check its texts; half of a surrogate pair is no UTF-8 either.
        raise DataInvalid(f"{path}: holds text that is not UTF-8, after row {number}") from error


_READERS = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}


def _by_name(rows: Rows) -> Iterator[Record]:
    from datasets import load_dataset

    name = f"{rows.datasets} ({rows.split})"
    try:
        found = load_dataset(rows.datasets, rows.subset, split=rows.split, streaming=True)
        for number, row in enumerate(found, start=1):
            yield Record(f"{name}, row {number}", row)
    except (OSError, ValueError) as error:
        # What `datasets` says may repeat a row; its kind is enough to act on.
        raise DataInvalid(f"{name} cannot be loaded: {type(error).__name__}") from error
