"""The shadow log: whole lines, a bound on the disk, several writers, for its owner alone."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from app.shadow.log import ShadowLog

WORKER = """
import sys
from pathlib import Path
from app.shadow.log import ShadowLog
log = ShadowLog(Path(sys.argv[1]), 2_000)
for count in range(3_000):
    log.write({"worker": sys.argv[2], "count": count, "padding": "x" * 40})
"""
LINE_BYTES = 80


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_files_of_bounded_size_hold_the_latest(tmp_path: Path) -> None:
    """Lines of 14 bytes, 7 to a file of 100: the last 10 lie in both files, in order."""
    log = ShadowLog(tmp_path / "shadow.jsonl", 100)
    for count in range(100, 1000):
        log.write({"count": count})
    older, current = tmp_path / "shadow.jsonl.1", tmp_path / "shadow.jsonl"
    assert max(older.stat().st_size, current.stat().st_size) <= 100
    found = [line["count"] for line in lines(older) + lines(current)]
    assert found == list(range(1000 - len(found), 1000))
    assert len(found) > 7
    assert sorted(path.name for path in tmp_path.iterdir()) == [current.name, older.name]
    assert current.stat().st_mode & 0o777 == 0o600


def test_writers_in_several_processes_share_the_file(tmp_path: Path) -> None:
    """All the while: a full file is moved once, nobody writes on in one that was moved."""
    path, older = tmp_path / "shadow.jsonl", tmp_path / "shadow.jsonl.1"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(path), name]) for name in ("a", "b")
    ]
    sizes = []
    while any(worker.poll() is None for worker in workers):
        with suppress(FileNotFoundError):
            sizes.append(older.stat().st_size)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert min(sizes) >= 2_000 - LINE_BYTES
    assert max(sizes) <= 2_000
    assert path.stat().st_size <= 2_000
    for name in ("a", "b"):
        counts = [line["count"] for line in lines(older) + lines(path) if line["worker"] == name]
        assert counts == list(range(3_000 - len(counts), 3_000))


def test_a_folder_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ShadowLog(tmp_path / "gone" / "shadow.jsonl", 100).write({})
