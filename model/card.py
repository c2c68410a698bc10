"""Model card: `personadual.json`, which lies in a checkpoint's folder and travels with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.decision import Calibration
from model.errors import CardInvalid
from model.mode import Tags
from model.prompt import PromptForm
from model.validation import describe, dotted, first_wrong

FILE_NAME = "personadual.json"
TOKENIZER_NAME = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What a checkpoint says of itself; the defaults stand for a checkpoint without a card.

    `reasons`: it reasons before `<answer>` (design 4.2). `control_strings`: texts that its
    tokenizer turns into control tokens, read from `tokenizer.json` and not part of the file.
    """

    format: Literal[1] = 1
    tags: Tags = field(default_factory=Tags)
    prompt: PromptForm = field(default_factory=PromptForm)
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    reasons: bool = True
    calibration: Calibration = field(default_factory=Calibration)
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    control_strings: tuple[str, ...] = ()

    def to_json(self) -> str:
        content = asdict(self)
        del content["control_strings"]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


for _part in (Card, Tags, PromptForm, Calibration):
    # pydantic reads the same frozen dataclasses that the rest of the code uses.
    setattr(_part, "__pydantic_config__", ConfigDict(extra="forbid", strict=True))  # noqa: B010
_CARD = TypeAdapter(Card)


def parse_card(text: str | bytes) -> Card:
    """Read the content of a card file.

    Raises:
        CardInvalid: it is not JSON, or a field is unknown or wrong; `field` names it.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CardInvalid(f"{FILE_NAME} is not JSON: {error}") from error
    if isinstance(content, dict) and "control_strings" in content:
        raise CardInvalid(f"{FILE_NAME}: control_strings: unknown field", field="control_strings")
    try:
        return _CARD.validate_json(json.dumps(content))
    except ValidationError as error:
        place, _ = first_wrong(error)
        raise CardInvalid(f"{FILE_NAME}: {describe(error)}", field=dotted(place)) from error


def load_card(folder: Path) -> tuple[Card, str | None]:
    """The card of a checkpoint folder, and a warning where defaults stand in for it.

    Raises:
        CardInvalid: the card, or the tokenizer.json beside it, is malformed or cannot be read.
    """
    path = folder / FILE_NAME
    warnings = []
    if _is_there(path):
        card = parse_card(_read(path))
    else:
        card = Card()
        warnings.append(f"no {FILE_NAME} with the checkpoint: default tags, prompt and calibration")
    control_strings = _control_strings(folder)
    if not control_strings:
        warnings.append(
            "no control tokens in its tokenizer.json, or no such file: only the common ones are"
            " kept plain in personas and messages"
        )
    return replace(card, control_strings=control_strings), "; ".join(warnings) or None


def save_card(card: Card, folder: Path) -> None:
    (folder / FILE_NAME).write_text(card.to_json(), encoding="utf-8")


def _control_strings(folder: Path) -> tuple[str, ...]:
    path = folder / TOKENIZER_NAME
    if not _is_there(path):
        return ()
    return _read_control_strings(path, path.stat().st_mtime_ns)


def _is_there(path: Path) -> bool:
    """What lies in a folder that we may not look into is not there for us."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CardInvalid(f"{path.name} cannot be read: {reason}") from error


@lru_cache(maxsize=8)
def _read_control_strings(path: Path, _written_ns: int) -> tuple[str, ...]:
    """Megabytes of JSON: read again only when the file has changed."""
    try:
        added = json.loads(_read(path)).get("added_tokens", [])
        return tuple(token["content"] for token in added)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise CardInvalid(f"{path.name} is not what a tokenizer's file looks like") from error
