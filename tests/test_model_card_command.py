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
