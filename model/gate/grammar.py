"""A grammar holds for its part of a reply only: `response_format` and the like for the answer,
that of a forced call (`tool_choice`) for all that is behind the tag.

vLLM asks a reasoning parser where that part begins, and leaves everything before it free. This
one splits no text, so that the gateway gets the reply as the model wrote it; only where a call is
forced the tag goes out as reasoning, since all else is read as the call. It is loaded by
`--reasoning-parser-plugin` and works for requests whose chat-template arguments say that they
are gated (`GATED_KEY`); for all others the grammar holds from the first token, as without it.
A grammar begins between two tokens: that the marker ends with one is the gate's part (`marker`).
It also counts the tokens of reasoning for `usage`, of every reply that opens with a tag.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.reasoning import ReasoningParserManager
from vllm.reasoning.identity_reasoning_parser import IdentityReasoningParser

from model.card import load_card
from model.decision import GATED_CALL, GATED_KEY
from model.reply import MARKER_BREAKS, OPEN

NAME = "personadual"
# The marker and the tags take a few tokens; a little more text than that is decoded per step.
_WINDOW = 24
_HALF_CHARACTER = "\ufffd"
_ANSWER = re.compile(rf"(?:\A|\n{{1,{MARKER_BREAKS}}}){re.escape(OPEN)}")


class GrammarBegins(IdentityReasoningParser):
    """Says where the grammar of a gated reply begins: behind `<answer>`, or behind the tag."""

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._gated = (kwargs.get("chat_template_kwargs") or {}).get(GATED_KEY)
        card, _ = load_card(Path(tokenizer.name_or_path))
        self._tags, self._reasons = tuple(card.tags), card.reasons
        waits_for_answer = card.reasons and self._gated != GATED_CALL
        self._endings = (OPEN,) if waits_for_answer else self._tags
        self._splits = False

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        # Asked of the prompt, before any output: a gated reply has its tag still to come.
        return not self._gated

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        """Whether the last tokens, `delta_ids`, hold the end of what is free."""
        if not self._gated or (self._splits and self._gated != GATED_CALL):
            return True
        ends = range(len(input_ids), len(input_ids) - len(list(delta_ids)), -1)
        return any(
            self._decode(input_ids[max(end - _WINDOW, 0) : end]).endswith(self._endings)
            for end in ends
        )

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        length = self._tag_length(model_output) if self._gated == GATED_CALL else 0
        return model_output[:length] or None, model_output[length:]

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        # Only the server asks this, which looks for calls of tools behind reasoning alone; a call
        # may come in place of the answer. The engine's own instance, whose grammar waits, is not
        # asked.
        self._splits = True
        if self._gated != GATED_CALL:
            return DeltaMessage(content=delta_text) if delta_text else None
        length = self._tag_length(current_text) or len(current_text)
        tag, call = current_text[len(previous_text) : length], current_text[length:]
        return DeltaMessage(reasoning=tag or None, content=call or None)

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """Tokens that begin between the tag and the answer's marker; 0 where all is the answer."""
        ids = list(token_ids)
        text = self._decode(ids) if self._reasons else ""
        begin = self._tag_length(text)
        found = _ANSWER.search(text[begin:])
        if not begin or not found:
            return 0

        def length(count: int) -> int:
            # A character that is still missing a token stands as a replacement.
            return len(self._decode(ids[:count]).rstrip(_HALF_CHARACTER))

        def tokens_to(end: int) -> int:
            return bisect_left(range(len(ids)), end, key=length)

        return tokens_to(begin + found.start()) - tokens_to(begin)

    def _tag_length(self, text: str) -> int:
        return next((len(tag) for tag in self._tags if text.startswith(tag)), 0)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.model_tokenizer.decode(list(ids), skip_special_tokens=False))


ReasoningParserManager.register_module(name=NAME, force=True, module=GrammarBegins)
