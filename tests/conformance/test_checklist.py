"""The list says what is so: a ticked point names its tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
POINTS = re.findall(r"^- \[([ x])\] (.+)$", (HERE / "README.md").read_text(), re.MULTILINE)
NAMED = sorted({name for _, text in POINTS for name in re.findall(r"`(test_\w+\.py::\w+)`", text)})


def test_a_ticked_point_names_a_test() -> None:
    assert len(POINTS) > 40
    for tick, text in POINTS:
        assert (tick == "x") == bool(re.search(r"`test_\w+\.py::\w+`", text)), text


@pytest.mark.parametrize("name", NAMED)
def test_the_test_exists(name: str) -> None:
    file, function = name.split("::")
    [path] = [folder / file for folder in (HERE, HERE.parent) if (folder / file).exists()]
    assert re.search(rf"^(async )?def {function}\(", path.read_text(), re.MULTILINE)
