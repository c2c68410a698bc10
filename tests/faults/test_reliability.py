"""docs/reliability.md: each line names a test that there is, and each fault has a line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.told import ROOT, Row, rows

HERE = Path(__file__).parent
OF_FAULTS = [HERE / f"test_{what}.py" for what in ("redis", "engine", "callers", "gateway")]


def names_in(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)]
    return {node.name for node in found if node.name.startswith("test_")}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.fault[:40])
def test_each_line_names_a_test(row: Row) -> None:
    assert row.tests
    for name in row.tests:
        file, function = name.split("::")
        assert function in names_in(ROOT / "tests" / file)


@pytest.mark.parametrize("path", OF_FAULTS, ids=lambda path: path.name)
def test_each_fault_has_a_line(path: Path) -> None:
    named = {name for row in rows() for name in row.tests}
    assert {f"faults/{path.name}::{name}" for name in names_in(path)} <= named
