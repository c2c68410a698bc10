"""What a request may not ask of an engine with a gate: vLLM would let it overrule the gate. Pure.

vLLM applies biases and forbidden words before any plug-in of its own. On the tag's tokens they
would choose the mode, against the dial and the operator's policy, or leave no tag to open with.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.chat.served import Served
from model.errors import InvalidRequest


def check_gateable(raw: Mapping[str, Any], served: Served) -> None:
    """Refuse what would go past the gate, choose for it, or end the reply within its tag.

    Raises:
        InvalidRequest: `field` names the parameter.
    """
    tag_tokens = {*served.tag_ids.general, *served.tag_ids.personalized}
    if raw.get("use_beam_search"):
        raise _refused("use_beam_search", "modes and beams do not go together here")
    if any(token in tag_tokens for token in raw.get("stop_token_ids") or ()):
        raise _refused("stop_token_ids", "one of these is a token of the mode's tag; use stop")
    biases = raw.get("logit_bias")
    if isinstance(biases, dict) and any(_as_token(key) in tag_tokens for key in biases):
        raise _refused("logit_bias", "one of these is a token of the mode's tag; use personadual")
    words = raw.get("bad_words")
    if isinstance(words, list) and any(_is_of_tag(word, served) for word in words):
        raise _refused("bad_words", "one of these is a part of the mode's tag; use personadual")


def _refused(field: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {why}", field=field)


def _as_token(key: str) -> int | None:
    """The token that vLLM reads in a key: `" 1_0"` is 10 to it as well."""
    with suppress(ValueError):
        return int(key)
    return None


def _is_of_tag(word: object, served: Served) -> bool:
    """Whether forbidding a word can forbid a token of a tag, whatever the tokenizer folds."""
    if not isinstance(word, str):
        return False
    plain = unicodedata.normalize("NFKC", word).strip()
    return any(plain in tag or tag.strip() in plain for tag in served.card.tags)
