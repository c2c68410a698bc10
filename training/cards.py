"""Cards: a checkpoint's card as training and evaluation read it, its warning said once."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

from model.card import Card, load_card
from training.config import Config

logger = logging.getLogger("personadual.training")


def card_of(folder: Path) -> Card:
    """The card of a checkpoint; where defaults stand in for it, the log says so, once.

    Raises:
        CardInvalid: it is malformed.
    """
    card, warning = load_card(folder)
    if warning:
        _warn(f"{folder}: {warning}")
    return card


def base_card(config: Config) -> Card:
    """The card of the checkpoint that a run begins with, and what adapter and configuration add to
    it: an adapter that is trained on goes on with the prompts that it was trained under."""
    card = card_of(config.model)
    before = card if config.adapter is None else load_card(config.adapter)[0]
    kwargs = {**card.chat_template_kwargs, **before.chat_template_kwargs}
    return replace(card, chat_template_kwargs=kwargs | config.chat_template_kwargs)


@cache
def _warn(text: str) -> None:
    logger.warning(text)
