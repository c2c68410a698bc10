"""The journal: what a kill left of a line, and what is no line of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.data.journal import Entry, Journal
from training.items import DataInvalid


def test_half_a_line_of_the_journal_is_left_out_and_a_wrong_one_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.add(Entry("a", "one\u2028two", prompt_tokens=3))
        journal.add(Entry("b", failure="refused"))
        with pytest.raises(DataInvalid, match="another build"):
            Journal(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "c", "te')
    with Journal(path) as journal:
        assert len(journal) == 2
        assert journal.get("a") == Entry("a", "one\u2028two", prompt_tokens=3)
        journal.add(Entry("c", "three"))
    assert json.loads(path.read_bytes().splitlines()[2]) == {"key": "c", "text": "three"}
    path.write_bytes(whole + b'{"text": 4}\n')
    with pytest.raises(DataInvalid, match="line 3: key"):
        Journal(path)
    with pytest.raises(DataInvalid, match="cannot be opened"):
        Journal(path / "below")
