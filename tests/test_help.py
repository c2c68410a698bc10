"""The help of options says how several are given, and what is meant where one is left out."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from app.cli import app


def test_the_version_is_told_to_people_and_programs() -> None:
    assert CliRunner().invoke(app, ["version"]).stdout == f"{version('personadual')}\n"
    told = CliRunner().invoke(app, ["version", "--json"]).stdout
    assert json.loads(told) == {"version": version("personadual")}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("evaluate", "Comma-separated, of: none, aligned, unaligned, injected."),
        ("evaluate", "Comma-separated, of: shared, strict."),
        ("evaluate", "Longest answer, reasoning included: 1024 or so for a model that thinks."),
        ("evaluate", "[default: (.personadual/evaluations/MODEL-SUITE)]"),
        ("train calibrate", "Decides which half is fitted and which is measured."),
        ("key create", "Most requests in a minute"),
        ("key create", "Most tokens in a minute"),
        ("key create", "[default: (chat, personas)]"),
    ],
)
def test_help_says_it(command: str, said: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "250"})
    assert said in done.stdout
