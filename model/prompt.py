"""Prompt: where the persona goes, and how text that looks like control text is kept plain.

One renderer for trainer, evaluator and gateway, so that what is trained is what is served. It
works on OpenAI messages; the chat template of the checkpoint turns them into tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from model.errors import InvalidRequest

Message = Mapping[str, Any]

MAX_DEPTH = 32
MAX_CONTROL_CHARS = 128
ZERO_WIDTH_SPACE = "\u200b"
# Control tokens of the common chat templates have this form, or stand in the tokenizer's list.
_COMMON_CONTROL = r"<\|[^|<>\s]{1,64}\|>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>"
# What a content part loads (a picture, a sound): the engine prints neither address nor data.
_LOADED_KEYS = frozenset({"url", "data"})


@dataclass(frozen=True, slots=True)
class PromptForm:
    """Where the persona stands (`place`) and the text around it (`template`).

    `system`: at the end of the system message, so that what precedes it keeps its prefix-cache
    entries when the persona is left out. `user`: the paper's form, in the last user message,
    with `{question}` standing for that message's text.

    Raises:
        ValueError: the template lacks a placeholder that its place needs.
    """

    place: Literal["system", "user"] = "system"
    template: str = "This is what we know about the user:\n{persona}"

    def __post_init__(self) -> None:
        needed = ("{persona}",) if self.place == "system" else ("{persona}", "{question}")
        for placeholder in needed:
            if self.template.count(placeholder) != 1:
                raise ValueError(f"template must hold {placeholder} exactly once")

    def fill(self, persona: str, question: str = "") -> str:
        """Replace the placeholders in one pass: text that is filled in is never filled again."""
        values = {"{persona}": persona, "{question}": question}
        return re.sub(r"\{(?:persona|question)\}", lambda found: values[found[0]], self.template)


class Plainer:
    """Keeps text plain: no control token of the checkpoint's tokenizer can arise from it.

    A zero-width space goes behind the first character of each control string. A reader sees no
    difference; the tokenizer, which finds control tokens by their exact text, finds none.
    """

    def __init__(self, control_strings: Iterable[str] = ()) -> None:
        known = sorted({text for text in control_strings if len(text) > 1}, key=len, reverse=True)
        choices = "|".join([_COMMON_CONTROL, *map(re.escape, known)])
        # A look-ahead consumes nothing, so that overlapping control strings are all found.
        self._control = re.compile(f"(?=(?:{choices}))(.)", re.DOTALL)
        self._beginnings = {"<", "[", *(text[0] for text in known)}

    def text(self, text: str) -> str:
        if not any(beginning in text for beginning in self._beginnings):
            return text  # most text: found out fifty times faster than by the pattern
        return self._control.sub(rf"\1{ZERO_WIDTH_SPACE}", text)

    def message(self, message: Message) -> dict[str, Any]:
        """A message with every text in it kept plain, less what its content parts load.

        Raises:
            InvalidRequest: it is nested deeper than any message of the protocol.
        """
        content = message.get("content")
        if not isinstance(content, list):
            plain: dict[str, Any] = self.value(message, "messages")
            return plain
        rest = {key: value for key, value in message.items() if key != "content"}
        try:
            return {
                **self._value(rest),
                "content": self._mend_seams([self._part(part) for part in content]),
            }
        except _TooDeep:
            raise _too_deep("messages") from None

    def value(self, value: Any, field: str) -> Any:
        """A JSON value with every text in it kept plain, keys and all: tools, calls, arguments.

        Raises:
            InvalidRequest: it is nested deeper than any of the protocol; it names the `field`.
        """
        try:
            return self._value(value)
        except _TooDeep:
            raise _too_deep(field) from None

    def _value(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if depth > MAX_DEPTH:
            raise _TooDeep
        if isinstance(value, Mapping):
            return {self.text(key): self._field(key, item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, depth + 1) for item in value]
        return value

    def _part(self, part: Any, levels: int = 2) -> Any:
        """A content part: `{"type": "image_url", "image_url": {"url": ...}}` and the like."""
        if not levels or not isinstance(part, Mapping):
            return self._value(part, 1)
        return {
            self.text(key): item
            if key in _LOADED_KEYS and isinstance(item, str)
            else self._part(item, levels - 1)
            for key, item in part.items()
        }

    def _field(self, key: str, value: Any, depth: int) -> Any:
        if key == "arguments" and isinstance(value, str) and "\\" in value:
            # The engine parses this text as JSON, in which an escape may spell a control string.
            try:
                parsed = json.loads(value)
            except ValueError:
                return self.text(value)
            except RecursionError:
                raise _TooDeep from None
            return json.dumps(self._value(parsed, depth + 1), ensure_ascii=False)
        return self._value(value, depth + 1)

    def _mend_seams(self, parts: list[Any]) -> list[Any]:
        """Templates may join text parts: no control string may arise where two of them meet."""
        tail = ""
        for part in parts:
            if not isinstance(part, dict):
                continue
            key = part["type"] if part.get("type") in ("refusal", "thinking") else "text"
            text = part.get(key)
            if not isinstance(text, str):
                continue
            if self.text(tail + text) != tail + text:
                text = part[key] = ZERO_WIDTH_SPACE + text
            tail = (tail + text)[-MAX_CONTROL_CHARS:]
        return parts


class _TooDeep(Exception):
    """A value is nested deeper than any of the protocol; whose it is stands outside."""


def _too_deep(field: str) -> InvalidRequest:
    return InvalidRequest(f"{field} is nested too deeply", field=field)


def render(
    persona: str | None,
    messages: Sequence[Message],
    form: PromptForm | None = None,
    plainer: Plainer | None = None,
) -> list[dict[str, Any]]:
    """Messages as the engine gets them: all of them plain, and the persona in its place.

    The same messages come back with and without a persona but for that one place.
    """
    form = form or PromptForm()
    plainer = plainer or Plainer()
    rendered = [plainer.message(message) for message in messages]
    if persona is None:
        return rendered
    return _place(plainer.text(persona), rendered, form)


def _place(persona: str, messages: list[dict[str, Any]], form: PromptForm) -> list[dict[str, Any]]:
    if form.place == "user":
        for index in range(len(messages) - 1, -1, -1):
            if messages[index].get("role") == "user":
                messages[index] = _ask_as(persona, messages[index], form)
                return messages
    elif messages and messages[0].get("role") in ("system", "developer"):
        messages[0] = _append(messages[0], form.fill(persona))
        return messages
    return [{"role": "system", "content": form.fill(persona)}, *messages]


def _append(message: dict[str, Any], text: str) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    return {**message, "content": f"{content}\n\n{text}" if content else text}


def _ask_as(persona: str, message: dict[str, Any], form: PromptForm) -> dict[str, Any]:
    """Put the persona around a question; among parts, around the first one that is text."""
    content = message.get("content")
    if not isinstance(content, list):
        return {**message, "content": form.fill(persona, content or "")}
    parts: list[Any] = list(content)
    for index, part in enumerate(parts):
        if isinstance(part, dict) and part.get("type") == "text":
            parts[index] = {**part, "text": form.fill(persona, str(part.get("text", "")))}
            return {**message, "content": parts}
    return {**message, "content": [{"type": "text", "text": form.fill(persona)}, *parts]}
