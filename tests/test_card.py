"""The model card: read whole, refused by field, defaulted with a warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.card import FILE_NAME, Card, load_card, parse_card, save_card
from model.decision import Calibration
from model.errors import CardInvalid
from model.mode import Tags
from model.pocket.build import pocket_card
from model.prompt import PAPER_FORM


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
