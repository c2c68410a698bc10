"""The picture of a run shows what its report says."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.evaluation_bench import bench
from tests.simulated_endpoint import facts, right, wishes
from training.evaluation.cli import evaluate_app
from training.evaluation.picture import draw
from training.evaluation.report import load_report


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(evaluate_app, ["picture", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split())


def test_a_picture_of_two_runs(tmp_path: Path) -> None:
    """Each way of each run has a place in the legend, and values stand above the bars."""
    with bench(tmp_path, [*facts(20), *wishes(20)]) as found:
        found.call("--isolation", "shared,strict", behave=right)
        report = load_report(found.out)
    path = tmp_path / "both.svg"
    draw([report, report], path)
    text = path.read_text(encoding="utf-8")
    model = report.asked.model
    for said in (f"{model}, shared", f"{model}, strict", "right answers, %"):
        assert f"<!-- {said} -->" in text, said
    assert text.count("<!-- 100 -->") > 4


def test_a_picture_by_the_command(tmp_path: Path) -> None:
    with bench(tmp_path, facts(8)) as found:
        found.call(behave=right)
        status, _said = call(found.out, "--out", tmp_path / "one.png")
    assert status == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    status, said = call(tmp_path)
    assert status == 1
    assert "report.json cannot be read" in said
    with bench(tmp_path, facts(8)) as found:
        found.call(behave=right)
        status, said = call(found.out, "--out", tmp_path / "one.txt")
    assert status == 1
    assert "ends in one of .png, .svg" in said
