"""The card's figures are the report's, and nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.card import Card, load_card, save_card
from model.decision import Calibration
from tests.evaluation_bench import bench
from tests.simulated_endpoint import facts, right, wishes
from tests.test_evaluation_run import planted
from training.evaluation.carding import write_card
from training.evaluation.cli import evaluate_app
from training.items import DataInvalid

ROOT = Path(__file__).parents[1]


def test_a_runs_figures_go_into_the_card(tmp_path: Path) -> None:
    """12 planted points; what the run could not measure is not in the card, the rest stays."""
    checkpoint = tmp_path / "checkpoint"
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
        save_card(Card(), tmp_path)
        figures = write_card(found.out, tmp_path).evaluation["figures"]
    assert {"personalized_accuracy", "regret", "swap_invariance", "benefit"} <= set(figures)


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"report\.json cannot be read"):
        write_card(tmp_path, tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(DataInvalid, match="asked"):
        write_card(tmp_path, tmp_path)


def test_pockets_page_says_what_its_card_says() -> None:
    """`model/pocket/README.md` is written by hand; these figures of it are the card's."""
    page = (ROOT / "model" / "pocket" / "README.md").read_text(encoding="utf-8")
    figures = load_card(ROOT / "model" / "pocket")[0].evaluation["figures"]
    for name in ("personalized_accuracy", "accuracy_no_persona", "accuracy_unaligned"):
        value, low, high = (f"{100 * number:.1f}" for number in figures[name])
        assert f"{value} % [{low}, {high}]" in page, name
    value, low, high = (f"{100 * number:.1f}" for number in figures["interference"])
    assert f"{value} [{low}, {high}]" in page
