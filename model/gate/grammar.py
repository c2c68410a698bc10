"""A grammar (`response_format` and the like) holds for the answer only.

vLLM asks a reasoning parser where the answer begins, and leaves everything before it free. This
one splits no text, so that the gateway gets the reply as the model wrote it. It is loaded by
`--reasoning-parser-plugin` and works for requests whose chat-template arguments say that they
are gated (`GATED_KEY`); for all others the grammar holds from the first token, as without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vllm.reasoning import ReasoningParserManager
from vllm.reasoning.identity_reasoning_parser import IdentityReasoningParser

from model.card import load_card
from model.decision import GATED_KEY
from model.reply import OPEN

NAME = "personadual"
# The marker and the tags take a few tokens; a little more text than that is decoded per step.
_WINDOW = 24


class AnswerBegins(IdentityReasoningParser):
    """Says where the answer of a gated reply begins: behind `<answer>`, or behind the tag."""

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        template_arguments = kwargs.get("chat_template_kwargs") or {}
        self._is_gated = bool(template_arguments.get(GATED_KEY))
        card, _ = load_card(Path(tokenizer.name_or_path))
        self._endings = (OPEN,) if card.reasons else tuple(card.tags)

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        # Asked of the prompt, before any output: a gated reply has its tag still to come.
        return not self._is_gated

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        if not self._is_gated:
            return True
        text = self.model_tokenizer.decode(list(input_ids[-_WINDOW:]), skip_special_tokens=False)
        return bool(text.endswith(self._endings))


ReasoningParserManager.register_module(name=NAME, force=True, module=AnswerBegins)
