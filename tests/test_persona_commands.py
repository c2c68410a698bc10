"""The commands `personadual persona ...`: one, files of them, transfers that ended early."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from testbed.http import call
from tests.api_keys import COMMAND
from tests.conftest import Gateway, RedisServer, wait_until
from tests.test_commands import Run, run

__all__ = ["run"]  # the fixture


def write_lines(path: Path, count: int, **more: Any) -> Path:
    rows = ({"id": f"u{index:06d}", "text": f"Text {index}.", **more} for index in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_persona_by_command(run: Run) -> None:
    """Put, get, list and delete; the JSON is what HTTP answers."""
    stored = run(
        *("persona", "put", "ada", "Ada.", "--attribute", "age=36", "--attribute", "city=Lisbon"),
        *("--attribute", "vip=true", "--attribute", "note=NaN", "--ttl", "100", "--json"),
    )
    wanted = {"age": 36, "city": "Lisbon", "vip": True, "note": "NaN"}
    assert json.loads(stored.stdout)["attributes"] == wanted
    assert run("persona", "put", "bob", "-", stdin=b"Two\nlines.\n").exit_code == 0
    assert run("persona", "get", "bob").stdout == "Two\nlines.\n"
    shown = run("persona", "get", "ada")
    assert shown.stdout.splitlines()[:2] == ["Ada.", "age: 36"]
    assert re.search(r"forgotten in (100|9\d) s$", shown.stderr.strip())
    assert json.loads(run("persona", "get", "ada", "--json").stdout)["ttl_s"] in range(90, 101)
    assert "forgotten" not in run("persona", "get", "bob").stderr
    assert run("persona", "list").stdout == "ada\nbob\n"
    first = run("persona", "list", "--limit", "1")
    assert (first.stdout, "--after ada" in first.stderr) == ("ada\n", True)
    listed = json.loads(run("persona", "list", "--after", "ada", "--json").stdout)
    assert listed == {"ids": ["bob"], "next_after": None}
    assert run("persona", "delete", "ada").exit_code == 0
    assert run("persona", "delete", "ada").exit_code == 1


def test_import_names_lines_that_are_wrong(run: Run, tmp_path: Path) -> None:
    """By their number in the file, also in a later piece; the exit code tells a script."""
    path = write_lines(tmp_path / "many.jsonl", 3000, attributes={"pad": "x" * 900})
    rows = path.read_text().splitlines()
    rows[4], rows[2900] = "{", json.dumps({"id": "ok", "text": ""})
    path.write_text("\n".join(rows))
    done = run("persona", "import", str(path))
    assert (done.exit_code, done.stdout) == (1, "2,998 personas of 3,000 lines, 2 refused\n")
    assert "line 5: the line is not JSON" in done.stderr
    assert "line 2901: text must not be empty" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["many.jsonl"], "no journal stays"
    report = json.loads(run("persona", "import", str(path), "--json").stdout)
    assert [error["line"] for error in report["errors"]] == [5, 2901]
    piped = run("persona", "import", "-", stdin=b'{"id": "eve", "text": "Eve."}')
    assert piped.stdout == "1 personas of 1 lines\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_was_ended_goes_on(
    gateway: Gateway, redis: Redis, tmp_path: Path, number: signal.Signals
) -> None:
    """Behind what was acknowledged, which is not sent again."""
    count = 40_000
    path = write_lines(tmp_path / "many.jsonl", count, attributes={"pad": "x" * 300})
    journal = tmp_path / "many.jsonl.import"
    command = [*COMMAND, "persona", "import", str(path), "--url", gateway.url]
    begun = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # As in a shell's foreground, whatever runs these tests.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(journal.exists, 30)
    begun.send_signal(number)
    said = begun.communicate(timeout=30)[1]
    if number == signal.SIGINT:
        assert (begun.returncode, "the same command goes on" in said) == (130, True)
    done = json.loads(journal.read_text())
    assert 0 < done["lines"] < count
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert f"after line {done['lines']:,}" in ended.stderr
    assert ended.stdout == f"{count:,} personas of {count:,} lines\n"
    assert redis.zcard("personadual:{default}:personas") == count
    assert not journal.exists()
    for index in (0, done["lines"] - 1):
        assert call(gateway.url, f"/v1/personas/u{index:06d}").json["version"] == 1


def test_the_journal_of_another_import_is_not_taken(run: Run, tmp_path: Path) -> None:
    """A file that has changed, another gateway's, or rubbish: the import begins at line 1."""
    path = write_lines(tmp_path / "few.jsonl", 3)
    journal = tmp_path / "few.jsonl.import"
    for text in ('{"format": 1, "size": 5, "changed_ns": 1, "offset": 40}', "rubbish", "[]"):
        journal.write_text(text)
        assert run("persona", "import", str(path)).stdout == "3 personas of 3 lines\n"


def test_an_import_waits_for_a_store_that_is_away_for_a_moment(
    run: Run, tmp_path: Path, redis_server: RedisServer
) -> None:
    path = write_lines(tmp_path / "few.jsonl", 10)
    redis_server.stop()
    back = threading.Thread(target=lambda: (time.sleep(1.2), redis_server.start()))
    back.start()
    try:
        done = run("persona", "import", str(path))
    finally:
        back.join()
    assert (done.exit_code, done.stdout) == (0, "10 personas of 10 lines\n")


def test_export_is_what_import_takes(run: Run, redis: Redis, tmp_path: Path) -> None:
    """To a file that appears whole, or to standard output."""
    run("persona", "import", str(write_lines(tmp_path / "in.jsonl", 250)))
    out = tmp_path / "out.jsonl"
    assert run("persona", "export", str(out)).stdout == "250 personas of 250 lines\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    assert run("persona", "export", "-").stdout == out.read_text()
    again = run("persona", "export", str(out))
    assert (again.exit_code, "--force" in again.stderr) == (1, True)
    redis.flushall()
    assert run("persona", "import", str(out)).exit_code == 0


def test_an_export_shorter_than_its_journal_says_is_refused(
    gateway: Gateway, run: Run, tmp_path: Path
) -> None:
    """Nothing may stand in the place of what is missing."""
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    part.write_text('{"id": "a"}')
    of = {"format": 1, "url": gateway.url, "key_id": ""}
    progress = {"lines": 3, "written": 3, "refused": 0, "errors": [], "last_id": "a"}
    (tmp_path / "out.jsonl.part.export").write_text(json.dumps({**of, **progress, "offset": 40}))
    done = run("persona", "export", str(out))
    assert done.exit_code != 0
    assert "is shorter than its journal says: remove both" in done.stderr
    assert part.read_text() == '{"id": "a"}'


def test_what_is_printed_is_what_is_stored(run: Run) -> None:
    """An emoji's code in a persona is text."""
    run("persona", "put", "a", "use :key: and dict[1:dog:2]")
    assert "use :key: and dict[1:dog:2]" in run("persona", "get", "a").stdout


def test_an_export_that_was_ended_goes_on(gateway: Gateway, run: Run, tmp_path: Path) -> None:
    """Behind the last line that is known to be whole; what was torn is cut off."""
    run("persona", "import", str(write_lines(tmp_path / "in.jsonl", 300)))
    whole = run("persona", "export", "-").stdout
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    lines = whole.splitlines(keepends=True)
    part.write_text("".join(lines[:120]) + lines[120][:7])
    of = {"format": 1, "url": gateway.url, "key_id": ""}
    progress = {"lines": 120, "written": 120, "refused": 0, "errors": [], "last_id": "u000119"}
    journal = tmp_path / "out.jsonl.part.export"
    journal.write_text(json.dumps({**of, **progress, "offset": len("".join(lines[:120]))}))
    done = run("persona", "export", str(out))
    assert "after line 120" in done.stderr
    assert done.stdout == "300 personas of 300 lines\n"
    assert out.read_text() == whole
    assert not part.exists()
    assert not journal.exists()
