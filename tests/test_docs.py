"""The README says what is so: every setting, metric, header, field and command is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.cli import app
from app.commands.lazy import PLACES
from app.schemas import Extension
from app.settings import Settings
from tests.test_metrics import NAMES
from training.evaluation.compare import COMPARED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HEADERS = ("mode", "source", "persona", "overhead-ms")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    rows = re.findall(
        rf"^\| `PERSONADUAL_{name.upper()}` \| (.*?) \| (.*?) \|$", README, re.MULTILINE
    )
    assert len(rows) == 1
    default, text = rows[0]
    field = Settings.model_fields[name]
    assert text == field.description
    shown = field.default
    if hasattr(shown, "get_secret_value"):
        shown = shown.get_secret_value()
    assert default == ("" if shown is None else f"`{shown}`")


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_documented(name: str) -> None:
    assert f"`personadual_{name}" in README


@pytest.mark.parametrize("name", Extension.model_fields)
def test_every_field_of_the_extension_is_documented(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("name", [*COMPARED, "claim_repeated", "isolation_gain"])
def test_every_measure_is_documented(name: str) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text()
    assert re.search(rf"^\| [^|]*`{name}`", page, re.MULTILINE)


def test_headers_and_commands_are_documented() -> None:
    for header in HEADERS:
        assert f"x-personadual-{header}" in README
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    for command in commands:
        assert f"personadual {command}" in README


@pytest.mark.parametrize(
    "name", re.findall(r"`(test_\w+\.py::\w+)`", (ROOT / "docs" / "security.md").read_text())
)
def test_what_the_review_of_security_claims_has_its_test(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize("name", PLACES)
def test_every_command_of_every_group_is_documented(name: str) -> None:
    place = PLACES[name].load()
    own = [command.name or command.callback.__name__ for command in place.registered_commands]
    for command in own:
        said = name if command == name else f"{name} {command}"
        assert re.search(rf"`(personadual )?{said}`", README), said


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_two_commands_and_an_exchange_stand_at_the_top() -> None:
    """One sentence, two commands, one real exchange: by line 30."""
    top = "\n".join(README.splitlines()[:30])
    for wanted in ("make serve", "make test", "/v1/chat/completions", '"personadual"'):
        assert wanted in top
