"""Fixtures: what callers are told is held against the table, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from testbed.http import Answer
from tests.faults.told import in_words, rows

Tell = Callable[[Answer | None], None]


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Iterator[Tell]:
    """Note what a caller was told; in the end it must be what the test's row says."""
    name = f"faults/{request.path.name}::{request.function.__name__}"
    [row] = [row for row in rows() if name in row.tests]
    noted: set[str] = set()

    def note(answer: Answer | None) -> None:
        noted.add(in_words(answer))
        assert noted <= row.told, row.fault

    yield note
    is_one_of_several = hasattr(request.node, "callspec")
    assert noted, row.fault
    assert is_one_of_several or noted == row.told, row.fault
