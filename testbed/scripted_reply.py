"""The fake engine's model: what a reply is by its script, token by token, under the gate's rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from model.decision import Calibration, Dial
from model.mode import Mode, TagIds

if TYPE_CHECKING:
    from testbed.fake_engine import Script

# What SmolLM2's tokenizer makes of the default tags.
TAG_TOKENS = {
    Mode.GENERAL: ["[", "General", "_", "mode", "]", "\n"],
    Mode.PERSONALIZED: ["[", "Personal", "ized", "_", "mode", "]", "\n"],
}
IDS = {"[": 75, "General": 12522, "_": 79, "mode": 9368, "]": 77, "\n": 198}
END = "<|im_end|>"  # no text of its own; among the log-probabilities it is one more token
IDS |= {"Personal": 26341, "ized": 1005}
TAG_IDS = TagIds(
    tuple(IDS[token] for token in TAG_TOKENS[Mode.GENERAL]),
    tuple(IDS[token] for token in TAG_TOKENS[Mode.PERSONALIZED]),
)


class ScriptedReply:
    """One choice of the scripted model, under the gate's rule."""

    def __init__(self, body: dict[str, Any], dial: Dial | None, script: Script) -> None:
        self._wants = body.get("logprobs")
        self._ids = body.get("logprob_token_ids")
        self._top = body.get("top_logprobs") or 0
        self._script = script
        tag: list[str] = []
        if dial is not None and not script.untagged:
            general, personalized = script.logprobs
            score = Calibration().score(personalized - general)
            is_personalized = score >= dial.bound(Calibration(), 0.5)
            tag = TAG_TOKENS[Mode.PERSONALIZED if is_personalized else Mode.GENERAL]
        answer = script.answer_to(body) if script.answer_to else script.answer
        words = re.findall(r"\n*<answer>|</answer>|\s*[^\s<]+|\s+|<", answer)
        limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 10_000)
        is_called = script.call is not None and body.get("tool_choice", "auto") != "none"
        self._call = script.call if is_called and body.get("tools") else None
        arguments = re.findall(r"\s*\S+", self._call[1]) if self._call else []
        self._is_forced = body.get("tool_choice", "auto") not in ("auto", "none")
        if self._call and self._is_forced:
            words = []
        everything = [*tag, *words, *arguments, END]
        self.finish_reason = "tool_calls" if self._call else "stop"
        if len(everything) > limit:
            self.finish_reason = "length"
        self.tokens = everything[:limit]
        self.tag_tokens, self._text_tokens = len(tag), len(tag) + len(words)
        marker = next((place for place, word in enumerate(words) if word.endswith("<answer>")), 0)
        self.reasoning_tokens = marker if tag else 0

    @property
    def text(self) -> str:
        return "".join(self.tokens[: self._text_tokens]).removesuffix(END)

    def message(self) -> dict[str, Any]:
        """The whole message; a forced call leaves the tag to `reasoning`."""
        if self._call is None:
            return {"content": self.text, "reasoning": None, "tool_calls": []}
        name, arguments = self._call
        function = {"name": name, "arguments": arguments}
        split = {"content": "", "reasoning": self.text}
        return {
            **(split if self._is_forced else {"content": self.text, "reasoning": None}),
            "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
        }

    def delta(self, place: int) -> dict[str, Any]:
        token = self.tokens[place]
        if token == END:
            return {"content": ""}
        if place < self.tag_tokens and self._call and self._is_forced:
            return {"reasoning": token}
        if place < self._text_tokens or self._call is None:
            return {"content": token}
        function: dict[str, Any] = {"arguments": token}
        call: dict[str, Any] = {"index": 0, "function": function}
        if place == self._text_tokens:
            call |= {"id": "call-1", "type": "function"}
            function["name"] = self._call[0]
        return {"tool_calls": [call]}

    def logprobs(self, begin: int, end: int) -> dict[str, Any] | None:
        if not self._wants:
            return None
        return {"content": [self._entry(place) for place in range(begin, end)]}

    def _entry(self, place: int) -> dict[str, Any]:
        token = self.tokens[place]
        general, personalized = self._script.logprobs
        pair = {"General": general, "Personal": personalized}
        own = pair.get(token, self._script.shared_logprob)
        tops = [_top(token, own)]
        if self._ids:
            tops += [_top(other, value) for other, value in pair.items() if other != token]
        return {**_top(token, own), "top_logprobs": tops if self._ids or self._top else []}


def _top(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
