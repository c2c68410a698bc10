"""The model card: read whole, refused by field, defaulted with a warning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.card import FILE_NAME, Card, load_card, parse_card, save_card
from model.decision import Calibration
from model.errors import CardInvalid
from model.mode import Tags
from model.pocket.build import pocket_card
from tests.paper_form import PAPER_FORM


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    """What is saved is what is loaded, and the warning is of the tokenizer, which is not there."""
    card = Card(
        tags=Tags("<g>", "<p>"),
        prompt=PAPER_FORM,
        chat_template_kwargs={"enable_thinking": False},
        reasons=False,
        calibration=Calibration(0.8, -0.1, 0.6),
        training={"recipe": "sft", "seed": 7},
    )
    save_card(card, tmp_path)
    found, warning = load_card(tmp_path)
    assert found == card
    assert warning is not None
    assert "tokenizer.json" in warning
    assert FILE_NAME not in warning


def test_a_checkpoint_without_card_gets_defaults_and_a_warning(tmp_path: Path) -> None:
    card, warning = load_card(tmp_path)
    assert card == Card()
    assert warning is not None
    assert FILE_NAME in warning


def test_control_strings_come_from_the_tokenizer(tmp_path: Path) -> None:
    """Every added token of the checkpoint, so that no text can become one."""
    added = {"added_tokens": [{"id": 1, "content": "<|im_start|>"}, {"id": 2, "content": "<tool>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(added))
    card, warning = load_card(tmp_path)
    assert card.control_strings == ("<|im_start|>", "<tool>")
    assert warning is not None
    assert "tokenizer.json" not in warning


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"format": 2}', "format"),
        ('{"tags": {"general": 1}}', "tags.general"),
        ('{"tags": {"general": "[a]", "personalized": "[a]b"}}', "tags"),
        ('{"calibration": {"threshold": 2}}', "calibration"),
        ('{"calibration": {"slope": "1"}}', "calibration.slope"),
        ('{"calibration": {"slop": 1}}', "calibration.slop"),
        ('{"prompt": {"place": "nowhere"}}', "prompt.place"),
        ('{"prompt": {"template": "no place"}}', "prompt"),
        ('{"control_strings": ["x"]}', "control_strings"),
        ('{"unknown": 1}', "unknown"),
        ("[]", "(the whole)"),
    ],
)
def test_a_malformed_card_is_refused_with_the_field_named(content: str, field: str) -> None:
    with pytest.raises(CardInvalid) as refused:
        parse_card(content)
    assert refused.value.field == field
    assert field in refused.value.message


def test_a_card_that_is_no_json_is_refused() -> None:
    with pytest.raises(CardInvalid, match="not JSON"):
        parse_card("{")


def test_pockets_own_card_is_well_formed() -> None:
    """It travels with the default checkpoint; its tags are the paper's."""
    assert pocket_card().tags == Tags()


LOAD = """
import os, sys
from pathlib import Path
from model.card import load_card
from model.errors import CardInvalid
if os.getuid() == 0:  # who may do anything is refused nothing
    os.setgid(65534), os.setuid(65534)
try:
    print(load_card(Path(sys.argv[1]))[1])
except CardInvalid as error:
    print("CardInvalid:", error)
"""


def loaded_as_nobody(folder: Path) -> str:
    """What a process says of a folder that was closed to it."""
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, folder], capture_output=True, text=True, check=False
    )
    return ran.stdout.strip() or ran.stderr


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that everybody reaches, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_folder_that_we_may_not_look_into_has_no_card(open_path: Path) -> None:
    folder = open_path / "closed" / "checkpoint"
    folder.mkdir(parents=True)
    save_card(Card(), folder)
    folder.parent.chmod(0)
    said = loaded_as_nobody(folder)
    folder.parent.chmod(0o700)
    assert said.startswith(f"no {FILE_NAME} with the checkpoint")


@pytest.mark.parametrize("name", [FILE_NAME, "tokenizer.json"])
def test_a_file_that_we_may_not_read_is_named(open_path: Path, name: str) -> None:
    """It is there, and what it says is not ours to guess."""
    save_card(Card(), open_path)
    (open_path / name).touch()
    (open_path / name).chmod(0)
    assert loaded_as_nobody(open_path) == f"CardInvalid: {name} cannot be read: Permission denied"


def test_a_name_that_can_be_no_folders_has_no_card() -> None:
    """The engine may name its checkpoint as it likes."""
    assert load_card(Path("x" * 5000))[0] == Card()


@pytest.mark.parametrize("content", ["{", "[]", '{"added_tokens": [1]}', '{"added_tokens": null}'])
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    """Without its control strings text could become them."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CardInvalid, match=r"tokenizer\.json"):
        load_card(tmp_path)
