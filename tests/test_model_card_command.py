"""`personadual model card`: what it prints is the card's JSON, whatever the width."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from app.cli import app
from model.card import Card, save_card


def test_lines_are_not_broken(tmp_path: Path) -> None:
    card = replace(Card(), evaluation={"note": "a figure " * 30})
    save_card(card, tmp_path)
    told = CliRunner().invoke(app, ["model", "card", str(tmp_path)])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["evaluation"] == card.evaluation


def test_a_folder_that_is_not_there_has_no_card(tmp_path: Path) -> None:
    """One that is there and holds none has the defaults."""
    told = CliRunner().invoke(app, ["model", "card", str(tmp_path / "nowhere")])
    assert (told.exit_code, told.stdout) == (1, "")
    assert "nowhere is not a folder: name that of a checkpoint" in told.stderr
    told = CliRunner().invoke(app, ["model", "card", str(tmp_path)])
    assert (told.exit_code, json.loads(told.stdout)["reasons"]) == (0, True)
    assert "no personadual.json" in told.stderr
