"""What the documents show is so: keys and fields with their defaults, and examples that work."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from model.card import Card, parse_card
from model.mode import Mode
from testbed.fake_engine import Script
from testbed.http import put_persona
from tests.conftest import Gateway
from tests.test_compose import SCHEMA
from training.config import Config, DualGrpoConfig, SftConfig, read_config
from training.credit import DualAdvantageConfig
from training.data import recipe
from training.items import Item, load_items
from training.rows import sft_rows

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXTS = {path.name: path.read_text() for path in (ROOT / "README.md", *DOCS)}
NEEDED = "*needed*"
TABLES: dict[str, tuple[type[Any], type[BaseModel] | None]] = {
    # Its title, what it is of, and whose keys stand in a table of their own.
    "Both trainings": (Config, None),
    "SFT": (SftConfig, Config),
    "DualGRPO": (DualGrpoConfig, Config),
    "`[dual]`": (DualAdvantageConfig, None),
    "Data": (recipe.Recipe, None),
    "`[[sources]]`": (recipe.Source, None),
    "`[personas]`": (recipe.Rows, None),
    "`[[test_sets]]`": (recipe.TestSet, None),
    "`[teacher]`": (recipe.TeacherSettings, None),
}


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[name], re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[tuple[str, str]]:
    """The first two columns of its tables, heads left out."""
    return re.findall(r"^\| `([\w.]+)` \| (.*?) \| ", text, re.MULTILINE)


def defaults(kind: type[Any]) -> dict[str, str]:
    """Keys and defaults as a table shows them: as TOML writes them, or nothing for none."""
    if dataclasses.is_dataclass(kind):
        return {one.name: shown(one.default) for one in dataclasses.fields(kind)}
    return {
        name: NEEDED if field.is_required() else shown(field.default)
        for name, field in kind.model_fields.items()
    }


def shown(default: Any) -> str:
    if default in (None, "", (), {}) or dataclasses.is_dataclass(default):
        return ""
    return f"`{json.dumps(default)}`"


@pytest.mark.parametrize("title", TABLES)
def test_every_key_of_a_file_is_documented_with_its_default(title: str) -> None:
    parts = re.split(r"^##+ (.*)\n", TEXTS["configuration.md"], flags=re.MULTILINE)
    part = dict(zip(parts[1::2], parts[2::2], strict=True))[title]
    kind, shared = TABLES[title]
    elsewhere = shared.model_fields if shared else {}
    wanted = {key: text for key, text in defaults(kind).items() if key not in elsewhere}
    assert len(rows(part)) == len(wanted)
    assert dict(rows(part)) == wanted


def test_every_field_of_a_card_is_documented_with_its_default() -> None:
    wanted: dict[str, str] = {}
    for name, value in json.loads(Card().to_json()).items():
        inner = value.items() if name in ("tags", "prompt", "calibration") else ()
        wanted |= {f"{name}.{key}": f"`{json.dumps(one)}`" for key, one in inner}
        wanted |= {} if inner else {name: f"`{json.dumps(value)}`"}
    assert dict(rows(TEXTS["checkpoints.md"])) == wanted


def test_the_card_that_is_shown_is_pockets() -> None:
    (text,) = blocks("checkpoints.md", "json")
    card, own = parse_card(text), parse_card((ROOT / "model/pocket/personadual.json").read_bytes())
    for name in ("format", "tags", "prompt", "chat_template_kwargs", "reasons", "calibration"):
        assert getattr(card, name) == getattr(own, name)
    assert card.training.items() <= own.training.items()
    assert card.evaluation.items() <= own.evaluation.items()


def test_a_card_may_leave_out_what_has_a_default() -> None:
    assert parse_card('{"calibration": {"slope": 2.0}}').calibration.threshold == 0.5


@pytest.mark.parametrize("name", ["training.md", "evaluation.md"])
def test_the_items_that_are_shown_are_a_file_of_items(name: str, tmp_path: Path) -> None:
    """Copied as they stand; those of training make a row of SFT each, in the mode of their own."""
    (text,) = blocks(name, "json")
    path = tmp_path / "items.jsonl"
    path.write_text(text)
    items = load_items(path)
    assert len(items) == len(text.splitlines())
    if name == "training.md":
        card = Card()
        made = list(sft_rows(items, card.prompt, card.tags, seed=1, forced=1.0))
        openings = [row.completion.split("\n")[0] + "\n" for row in made]
        assert openings == [card.tags[Mode.GENERAL], card.tags[Mode.PERSONALIZED]]


def test_the_fields_of_an_item_are_documented() -> None:
    said = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", TEXTS["training.md"], re.M)))
    )
    assert {field.name for field in dataclasses.fields(Item)} <= said


def test_the_configurations_that_are_shown_can_be_read(tmp_path: Path) -> None:
    settle, sft, dual = blocks("training.md", "toml")
    for text, kind in ((sft, SftConfig), (dual, DualGrpoConfig)):
        path = tmp_path / "shown.toml"
        path.write_text(text)
        read_config(path, kind)
    first, second, settled = map(tomllib.loads, (sft, dual, settle))
    assert first["chat_template_kwargs"] == {"enable_thinking": False}  # the others have it from it
    assert second["adapter"] == f"{first['out']}/adapter"
    assert settled["adapter"] == f"{second['out']}/adapter"
    del first["lora_rank"]
    assert SftConfig.model_validate({**first, **settled}).invariance > 0


@pytest.mark.parametrize("text", blocks("operations.md", "yaml"))
def test_compose_files_that_are_shown_follow_the_specification(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_example_of_the_client_runs(
    gateway: Gateway, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, but for the address: a whole answer and a stream, each with its decision."""
    put_persona(gateway.url, "ada", "Ada is a vegan cook from Lisbon.")
    (code,) = blocks("README.md", "python")
    assert "http://127.0.0.1:8080" in code
    exec(code.replace("http://127.0.0.1:8080", gateway.url), {})
    said = capsys.readouterr().out
    assert said.count("Cook a stew.") == 2
    assert said.count("'mode': 'general'") == 2
    assert said.count("'status': 'withheld'") == 2


@pytest.mark.parametrize("name", TEXTS)
def test_links_of_the_documents_lead_somewhere(name: str) -> None:
    """Files that are there, and headings that are in them."""
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXTS[name]):
        file, _, anchor = target.partition("#")
        path = folder / file if file else folder / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), target


def anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
