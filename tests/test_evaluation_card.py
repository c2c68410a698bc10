"""The card's figures are the report's, and nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.figures import BEGIN, END, block, fingerprint, write_block
from model.card import Card, load_card, save_card
from model.decision import Calibration
from tests.evaluation_bench import bench
from tests.simulated_endpoint import MODEL, facts, right, wishes
from tests.test_evaluation_run import planted
from training.evaluation.answers import ANSWERS
from training.evaluation.carding import write_card
from training.evaluation.cli import evaluate_app
from training.items import DataInvalid

ROOT = Path(__file__).parents[1]


def test_a_runs_figures_go_into_the_card(tmp_path: Path) -> None:
    """12 planted points; what the run could not measure is not in the card, the rest stays."""
    checkpoint = tmp_path / MODEL
    checkpoint.mkdir()
    save_card(replace(Card(), calibration=Calibration(0.8, 0.1, 0.6)), checkpoint)
    with bench(tmp_path, facts(200)) as found:
        found.call(behave=planted)
        told = CliRunner().invoke(evaluate_app, ["card", str(found.out), str(checkpoint)])
        assert told.exit_code == 0, told.output
        row = found.row("interference", "auto/shared", "objective", "exact")["estimate"]
    card, _warning = load_card(checkpoint)
    assert card.calibration == Calibration(0.8, 0.1, 0.6)
    figures = card.evaluation["figures"]
    assert figures["interference"] == pytest.approx([0.12, row["low"], row["high"]], abs=1e-4)
    assert card.evaluation["items"] == 200
    assert "personalized_accuracy" not in figures


def test_personal_figures_are_there_where_they_were_asked(tmp_path: Path) -> None:
    with bench(tmp_path, [*facts(20), *wishes(20)]) as found:
        found.call("--forced", behave=right)
        for name in (MODEL, "other"):
            (tmp_path / name).mkdir()
            save_card(Card(), tmp_path / name)
        figures = write_card(found.out, tmp_path / MODEL).evaluation["figures"]
        with pytest.raises(DataInvalid, match=f"asked the model {MODEL}, and this one is other"):
            write_card(found.out, tmp_path / "other")
    assert load_card(tmp_path / "other")[0].evaluation == {}
    assert {"personalized_accuracy", "regret", "swap_invariance", "benefit"} <= set(figures)


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"report\.json cannot be read"):
        write_card(tmp_path, tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(DataInvalid, match="asked"):
        write_card(tmp_path, tmp_path)


def test_a_run_that_is_not_over_gives_no_figures(tmp_path: Path) -> None:
    """Killed after 3 of 60 answers and measured as far as it is: its items are not those of the
    suite."""
    checkpoint = tmp_path / MODEL
    checkpoint.mkdir()
    save_card(Card(), checkpoint)
    with bench(tmp_path, facts(20)) as found:
        found.call(behave=right)
        answers = found.out / ANSWERS
        whole = answers.read_text()
        answers.write_text("".join(whole.splitlines(keepends=True)[:3]))
        assert CliRunner().invoke(evaluate_app, ["report", str(found.out)]).exit_code == 0
        with pytest.raises(DataInvalid, match=r"3 of 60 questions .* evaluate command .* goes on"):
            write_card(found.out, checkpoint)
        assert load_card(checkpoint)[0].evaluation == {}
        found.call()
    assert write_card(found.out, checkpoint).evaluation["items"] == 20


def test_pockets_page_says_what_its_card_says() -> None:
    """`make pocket` writes both: `python -m benchmarks.figures`."""
    page = (ROOT / "model" / "pocket" / "README.md").read_text(encoding="utf-8")
    assert block(load_card(ROOT / "model" / "pocket")[0]) in page


def test_the_figures_of_a_page_are_written_again(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# Pocket\n\n{BEGIN}\nold\n{END}\n\nMore.\n")
    figures = {"interference": [0.0467, -0.01, 0.0982], "regret": [0.02, 0.0, 0.04]}
    found = {"items": 200, "way": "auto/shared", "figures": figures}
    write_block(page, block(replace(Card(), evaluation=found)))
    said = page.read_text()
    assert "interference: none minus unaligned, points | 4.7 [-1.0, 9.8] |" in said
    assert said.startswith("# Pocket\n\n<!--")
    assert said.endswith("-->\n\nMore.\n")
    assert "old" not in said
    write_block(page, block(Card()))
    assert "Not measured yet" in page.read_text()
    page.write_text("no place")
    with pytest.raises(SystemExit, match="no place for the figures"):
        write_block(page, block(Card()))


def test_the_answers_of_another_training_are_not_taken(tmp_path: Path) -> None:
    save_card(Card(), tmp_path)
    (tmp_path / "model.safetensors").write_text("a")
    first = fingerprint(tmp_path)
    save_card(replace(Card(), evaluation={"items": 1}), tmp_path)
    assert fingerprint(tmp_path) == first
    save_card(replace(Card(), calibration=Calibration(0.5, 0.0, 0.5)), tmp_path)
    second = fingerprint(tmp_path)
    (tmp_path / "model.safetensors").write_text("b")
    assert len({first, second, fingerprint(tmp_path)}) == 3
