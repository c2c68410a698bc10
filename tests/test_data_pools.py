"""What was drawn is kept: a build that is called again reads no source twice."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from tests.paper_sources import flan, recipe, source, ultramedical, write_jsonl, write_sources
from training.data.build import Input, read_input
from training.data.pools import SHOWN_EVERY
from training.data.progress import Reading
from training.data.recipe import load_recipe
from training.items import DataInvalid

URL = "http://127.0.0.1:9/v1"
QUOTAS = ("sft_personalized = 3\nrl = 2", "sft_general = 4\nrl = 3")


def two(folder: Path, medical: str = QUOTAS[0], tasks: str = QUOTAS[1]) -> str:
    return source(folder, "ultramedical.jsonl", medical) + source(folder, "flan.jsonl", tasks)


def read(folder: Path, sources: str = "", top: str = "") -> tuple[Input, list[str]]:
    """The input of a recipe, and what was read for it."""
    shown: list[str] = []
    path = recipe(folder, URL, sources or two(folder), top=top)
    return read_input(load_recipe(path), shown.append), shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sources with rows that are skipped, and a test set with one that is null."""
    write_sources(tmp_path)
    medical = [*(ultramedical(n) for n in range(1, 31)), ultramedical(31, answer="Rest.")]
    write_jsonl(tmp_path / "ultramedical.jsonl", medical)
    tests = [{"question": None}, {"question": flan(1)["inputs"]}]
    write_jsonl(tmp_path / "test.jsonl", tests)
    return tmp_path


def spoil(path: Path) -> None:
    """Make a file unreadable, with the size and the time that it had."""
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_source_is_read_once(folder: Path) -> None:
    first, shown = read(folder)
    assert shown == ["personas", "test sets", "ultramedical", "flan"]
    dropped = first.ledger.dropped
    assert dropped["ultramedical", "no answer to check"] == 1
    assert dropped["flan", "overlaps with a test set"] == 1
    assert dropped["test set test", "no text"] == 1
    for name in ("ultramedical.jsonl", "flan.jsonl", "test.jsonl"):
        spoil(folder / name)
    again, shown = read(folder)
    assert shown == ["personas"]
    assert again == first
    # The same number of questions, to another end.
    moved, shown = read(folder, two(folder, "sft_personalized = 1\nrl = 4"))
    assert shown == ["personas"]
    assert moved.pools == first.pools


def test_a_build_that_ended_in_a_later_source_does_not_read_the_earlier_ones(folder: Path) -> None:
    whole = (folder / "flan.jsonl").read_bytes()
    (folder / "flan.jsonl").write_bytes(whole + b"{\n")
    with pytest.raises(DataInvalid, match="line 31: is not JSON"):
        read(folder)
    assert [path.name for path in (folder / "out").iterdir()] == ["pool-1.jsonl"]
    (folder / "flan.jsonl").write_bytes(whole)
    found, shown = read(folder)
    assert shown == ["personas", "test sets", "flan"]
    for path in (folder / "out").iterdir():
        path.unlink()
    assert read(folder)[0] == found


def test_what_an_earlier_source_has_is_a_duplicate_also_from_its_pool(folder: Path) -> None:
    twin = '\nname = "twin"'
    sources = two(folder) + source(folder, "flan.jsonl", f"rl = 1{twin}")
    write_jsonl(folder / "test.jsonl", [{"question": "Nothing of this stands anywhere"}])
    for _time in range(2):
        with pytest.raises(DataInvalid, match=r"twin has 0 usable questions.*30 x duplicate"):
            read(folder, sources)


@pytest.mark.parametrize("changed", ["seed", "quota", "source", "tests", "half", "not ours"])
def test_what_has_changed_is_drawn_anew(folder: Path, changed: str) -> None:
    first, _shown = read(folder)
    top, sources, anew = "", "", ["test sets", "ultramedical", "flan"]
    pool = folder / "out" / "pool-1.jsonl"
    if changed == "seed":
        top = "seed = 7"
    elif changed == "quota":
        sources = two(folder, tasks="rl = 9")
        anew.remove("ultramedical")
    elif changed == "source":
        write_jsonl(folder / "flan.jsonl", [flan(n) for n in range(1, 41)])
        anew.remove("ultramedical")
    elif changed == "tests":
        write_jsonl(folder / "test.jsonl", [{"question": flan(2)["inputs"]}])
    elif changed == "half":
        pool.write_bytes(pool.read_bytes()[:-9])
        anew.remove("flan")
    else:
        pool.write_bytes(b"")
        anew.remove("flan")
    found, shown = read(folder, sources, top)
    assert shown == ["personas", *anew]
    # These sources are so small that all of their questions are in the pools.
    assert (found == first) == (changed in ("quota", "half", "not ours"))
    assert read(folder, sources, top) == (found, ["personas"])


def test_rows_are_counted_while_they_are_read(folder: Path) -> None:
    write_jsonl(folder / "flan.jsonl", [flan(n) for n in range(1, 2 * SHOWN_EVERY + 2)])
    shown = read(folder)[1]
    assert shown[-2:] == [f"flan: {SHOWN_EVERY} rows", f"flan: {2 * SHOWN_EVERY} rows"]


@pytest.mark.parametrize("every_s", [0.0, 60.0])
def test_a_log_is_told_now_and_then_what_is_read(every_s: float) -> None:
    file = io.StringIO()
    with Reading(Console(file=file), every_s) as reading:
        reading.show("[b]flan[/b]: 1000 rows")
    lines = [line for line in file.getvalue().splitlines() if line.strip()]
    assert lines == ([] if every_s else ["  [b]flan[/b]: 1000 rows …"])


def test_a_pool_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / "out").write_text("a file")
    with pytest.raises(DataInvalid, match=r"pool-1\.jsonl cannot be"):
        read(folder)
