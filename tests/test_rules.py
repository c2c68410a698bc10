"""Prometheus' rules: well formed, unit-tested by promtool, and about metrics that exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_metrics import NAMES

ROOT = Path(__file__).parents[1]
RULES = sorted((ROOT / "docker" / "rules").glob("*.yml"))
CASES = sorted((ROOT / "tests" / "rules").glob("*.yml"))


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"]: rule for rule in rules("alert")}
RECORDS = {rule["record"]: rule for rule in rules("record")}


def test_configuration_and_rules_are_valid(program: Callable[[str], str]) -> None:
    config = ROOT / "docker" / "prometheus.yml"
    done = subprocess.run(
        [program("promtool"), "check", "config", "--lint-fatal", config], capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path, program: Callable[[str], str]) -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", path.name],
        cwd=path.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_seen_to_fire_and_to_stay_quiet(name: str) -> None:
    cases = [
        case
        for path in CASES
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert {"exp_alerts" in case for case in cases} == {True, False}


@pytest.mark.parametrize(("name", "rule"), ALERTS.items())
def test_every_alert_says_what_it_is_and_what_to_do(name: str, rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("name", [*ALERTS, *RECORDS])
def test_rules_speak_of_metrics_that_there_are(name: str) -> None:
    """A misspelt one would never fire."""
    expression = {**ALERTS, **RECORDS}[name]["expr"]
    for used in re.findall(r"personadual:[a-z0-9_:]+", expression):
        assert used in RECORDS
    for used in re.findall(r"personadual_(\w+)", expression):
        assert re.sub(r"_(bucket|sum|count)$", "", used) in NAMES
