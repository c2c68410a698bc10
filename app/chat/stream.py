"""Streams: the engine's events turned into the caller's, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from msgspec import UNSET

from app.chat import wire
from app.chat.plan import Plan
from app.chat.replies import (
    ChoiceReader,
    extension,
    read_decision,
    reasoning_keys,
    shown_logprobs,
    text_in,
    text_of,
    told_usage,
)
from app.settings import ReasoningField
from model.decision import Decision, Source
from model.engine import EngineStream
from model.errors import EngineBroken
from model.reply import Part, Piece

OnDecision = Callable[[Decision], None]
L = TypeVar("L")


class Peeked:
    """A stream whose first events are read to learn its decision, and then given again."""

    def __init__(self, stream: EngineStream) -> None:
        self._stream = stream
        self._events = stream.events()
        self._held: list[list[bytes]] = []

    async def decision(self, plan: Plan) -> Decision:
        """The decision, as soon as its token has come; without mode where no tag is opened.

        Raises:
            EngineError: the stream broke off before it.
        """
        served = plan.served
        text, entries = "", list[wire.Entry]()
        async for payloads in self._events:
            self._held.append(payloads)
            chunks = [_decoded(payload, wire.decode_chunk) for payload in payloads]
            for choice in (choice for chunk in chunks for choice in chunk.choices):
                text += text_of(plan, choice.delta.reasoning, choice.delta.content)
                entries += (choice.logprobs.content if choice.logprobs else None) or []
            mode = served.card.tags.parted(text)
            if mode is not None or not any(tag.startswith(text) for tag in served.card.tags):
                return read_decision(
                    mode, plan.source, entries, served.tag_ids, served.card.calibration
                )
        return Decision(None, Source.FALLBACK)

    async def events(self) -> AsyncIterator[list[bytes]]:
        while self._held:
            yield self._held.pop(0)
        async for payloads in self._events:
            yield payloads

    def close(self) -> None:
        self._stream.close()


class StreamReader:
    """Turns the engine's events into the caller's, one at a time.

    `on_decision` hears each choice's decision when it is known. `usage` is what the engine
    counted, once it said so; `has_text` turns true with the first text that goes out.
    """

    def __init__(
        self,
        plan: Plan,
        field: ReasoningField,
        on_decision: OnDecision,
        given: Decision | None = None,
    ) -> None:
        self._plan = plan
        self._keys = reasoning_keys(plan, field)
        self._on_decision = on_decision
        self._given = given
        self._model = plan.request.model or plan.served.name
        self._wants_usage = bool((plan.request.stream_options or {}).get("include_usage"))
        self._wants_logprobs = bool(plan.request.logprobs)
        self._decode: Callable[[bytes], wire.Chunk[Any]] = (
            wire.decode_full_chunk if self._wants_logprobs else wire.decode_chunk
        )
        self._undecided = plan.request.n or 1
        self._readers: dict[int, ChoiceReader] = {}
        self.usage: wire.Usage | None = None
        self.has_text = False

    def answer(self) -> str | None:
        """The first choice's answer, as far as it has come."""
        reader = self._readers.get(0)
        return reader.answer if reader else None

    def read(self, payload: bytes) -> bytes:
        """The caller's events for one of the engine's; empty where there is nothing to show yet.

        Raises:
            EngineBroken: the event is no chunk, or reports a failure.
        """
        return self._show(_decoded(payload, self._decode))

    def read_burst(self, payloads: Sequence[bytes]) -> bytes:
        """The caller's events for several of the engine's that came in one read.

        Text that follows text becomes one event: each costs a parse and an encoding here, and
        its caller as much.

        Raises:
            EngineBroken: an event is no chunk, or reports a failure.
        """
        if len(payloads) < 2 or self._undecided or self._wants_logprobs:
            return b"".join([self.read(payload) for payload in payloads])
        shown: list[bytes] = []
        texts: list[str] = []
        held: wire.Chunk[Any] | None = None
        for payload in payloads:
            chunk = _decoded(payload, self._decode)
            text = _text_alone(chunk)
            if text is not None and held and held.choices[0].index == chunk.choices[0].index:
                texts.append(text)
                continue
            if held:
                shown.append(self._show_texts(held, texts))
            if text is not None:
                held, texts = chunk, [text]
            else:
                held = None
                shown.append(self._show(chunk))
        if held:
            shown.append(self._show_texts(held, texts))
        return b"".join(shown)

    def _show_texts(self, chunk: wire.Chunk[Any], texts: Sequence[str]) -> bytes:
        chunk.choices[0].delta.content = "".join(texts)
        return self._show(chunk)

    def _show(self, chunk: wire.Chunk[Any]) -> bytes:
        chunk.model = self._model
        if chunk.usage:
            self.usage = chunk.usage
        if not self._wants_usage:
            chunk.usage = UNSET
        elif chunk.usage:
            chunk.usage = told_usage(chunk.usage, self._plan, self._readers.values())
        if len(chunk.choices) == 1:
            return self._read_choice(chunk, chunk.choices[0])
        if not chunk.choices:
            return _event(chunk) if self._wants_usage else b""
        return b"".join([self._read_choice(chunk, choice) for choice in chunk.choices])

    def _read_choice(self, chunk: wire.Chunk[Any], choice: wire.ChunkChoice[Any]) -> bytes:
        reader = self._readers.get(choice.index)
        if reader is None:
            reader = self._readers[choice.index] = ChoiceReader(self._plan, self._given)
        delta = choice.delta
        text = text_of(self._plan, delta.reasoning, delta.content)
        delta.content, delta.role, delta.reasoning = None, None, None
        entries: list[Any] = []
        if choice.logprobs and (self._wants_logprobs or reader.decision is None):
            entries = choice.logprobs.content or []
        is_last = choice.finish_reason is not None
        opening = b""
        pieces = self._read_text(reader, choice, text, entries)
        shown = reader.visible(text, entries, is_last=is_last) if self._wants_logprobs else []
        if reader.decision is None:
            return b""
        if not reader.is_opened:
            reader.is_opened = True
            self._on_decision(reader.decision)
            self._undecided -= 1
            if self._undecided == 0 and not self._wants_logprobs:
                self._decode = wire.decode_text_chunk
            opening = self._opening(chunk, choice.index, reader.decision)
        choice.logprobs = shown_logprobs(shown, self._plan) if shown else None
        if not (pieces or is_last or choice.logprobs or delta.tool_calls):
            return opening
        if pieces:
            self._fill(delta, pieces)
        chunk.choices = [choice]
        return opening + _event(chunk)

    def _read_text(
        self, reader: ChoiceReader, choice: wire.ChunkChoice[Any], text: str, entries: list[Any]
    ) -> list[Piece]:
        if reader.decision is not None:
            pieces = reader.read(text) if text else []
        else:
            pieces = reader.read_opening(text, entries)
        if choice.delta.tool_calls:
            reader.note_call()
        if choice.finish_reason is not None:
            pieces += reader.finish()
            reader.tell_stop(choice)
        return pieces

    def _fill(self, delta: wire.Delta, pieces: Sequence[Piece]) -> None:
        if len(pieces) == 1 and pieces[0][0] is Part.ANSWER:
            delta.content = pieces[0][1]
            self.has_text = True
            return
        reasoning, answer = text_in(Part.REASONING, pieces), text_in(Part.ANSWER, pieces)
        if answer:
            delta.content = answer
            self.has_text = True
        if reasoning:
            for key in self._keys:
                setattr(delta, key, reasoning)
                self.has_text = True

    def _opening(self, chunk: wire.Chunk[Any], index: int, decision: Decision) -> bytes:
        """The first chunk of a choice: the role, and how it is answered."""
        delta = wire.Delta(role="assistant", content="")
        first: wire.Chunk[Any] = wire.Chunk(
            chunk.id,
            chunk.created,
            chunk.model,
            [wire.ChunkChoice(index, delta)],
            personadual=extension(decision, self._plan),
        )
        return _event(first)


def _text_alone(chunk: wire.Chunk[Any]) -> str | None:
    """The text of a chunk that has nothing else to say."""
    if len(chunk.choices) != 1 or chunk.usage:
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if choice.finish_reason is not None or delta.tool_calls or delta.refusal or delta.reasoning:
        return None
    return delta.content or None


def _decoded(payload: bytes, decode: Callable[[bytes], wire.Chunk[L]]) -> wire.Chunk[L]:
    try:
        return decode(payload)
    except wire.UNREADABLE as error:
        raise EngineBroken("the engine failed while it answered") from error


def _event(chunk: wire.Chunk[Any]) -> bytes:
    return b"data: " + wire.encode(chunk) + b"\n\n"
