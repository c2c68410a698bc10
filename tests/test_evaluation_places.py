"""Places that cannot be written to: one line that names them, and no traceback."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.card import FILE_NAME
from tests.evaluation_bench import Bench, bench
from tests.simulated_endpoint import MODEL, facts
from training.evaluation.answers import ANSWERS, read_answers
from training.evaluation.cli import evaluate_app


def refused(*told: object) -> str:
    result = CliRunner().invoke(evaluate_app, [str(one) for one in told])
    # An error that nobody expected has the same exit code, and ends in a traceback.
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    return " ".join(result.output.split())


def evaluated(found: Bench, out: Path) -> str:
    told = ["--url", found.served.url, "--model", MODEL, "--suite", found.suite]
    return refused(*told, "--out", out)


def test_a_run_needs_a_folder_that_can_be_written_to(tmp_path: Path) -> None:
    """Nothing is asked before that is known."""
    note, run = tmp_path / "note", tmp_path / "run"
    note.write_text("mine")
    (run / ANSWERS).mkdir(parents=True)
    with bench(tmp_path, facts(2)) as found:
        assert f"{note} is no folder" in evaluated(found, note)
        below = note / "run"
        assert f"{below} cannot be written: Not a directory" in evaluated(found, below)
        (run / ANSWERS).rename(tmp_path / "apart")
        (run / "asked.json").symlink_to(tmp_path / "gone" / "asked.json")
        assert f"{run} cannot be written: No such file" in evaluated(found, run)
        assert found.served.seen == []
    assert note.read_text() == "mine"


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A limit on a file's size stands for it: the kernel refuses the write just so."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    with bench(tmp_path, facts(30)) as found:
        told = ["--url", found.served.url, "--model", MODEL, "--suite", str(found.suite)]
        command = [sys.executable, "-m", "app", "evaluate", *told, "--out", str(found.out)]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=bound)
        assert done.returncode == 1
        said = " ".join(done.stderr.split())
        assert f"{found.out / ANSWERS} cannot be written: File too large" in said
        assert "Traceback" not in said
        kept = len(read_answers(found.out))
        assert 0 < kept < 90
        found.served.seen.clear()
        found.call()
        assert len(found.served.seen) == 90 - kept


def test_answers_need_a_file(tmp_path: Path) -> None:
    with bench(tmp_path, facts(2)) as found:
        found.call()
        path = found.out / ANSWERS
        path.unlink()
        path.mkdir()
        assert f"{path} cannot be written: Is a directory" in evaluated(found, found.out)


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_report_needs_its_files(tmp_path: Path, name: str) -> None:
    with bench(tmp_path, facts(2)) as found:
        found.call()
    (found.out / name).unlink()
    (found.out / name).mkdir()
    said = refused("report", found.out)
    assert f"{found.out / name} cannot be written: Is a directory" in said


def test_a_comparison_needs_the_folder_of_its_page(tmp_path: Path) -> None:
    with bench(tmp_path, facts(2)) as found:
        found.call()
    page = tmp_path / "pages" / "c.html"
    said = refused("compare", found.out, found.out, "--out", page)
    assert f"{page} cannot be written: No such file or directory" in said


def test_a_card_needs_its_file(tmp_path: Path) -> None:
    with bench(tmp_path, facts(2)) as found:
        found.call()
    path = tmp_path / MODEL / FILE_NAME
    path.mkdir(parents=True)
    said = refused("card", found.out, path.parent)
    assert f"{path} cannot be written: Is a directory" in said
