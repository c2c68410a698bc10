"""Replies: what the engine says, turned into what the caller reads. Pure but for JSON.

The tag goes, with its entries among log-probabilities and token ids; reasoning and answer go to
their fields; the decision is read and shown. Whole answers and streams share `ChoiceReader`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from app.plan import Plan
from app.settings import ReasoningField
from model.decision import Calibration, Decision, Source
from model.errors import EngineBroken
from model.mode import Mode, TagIds
from model.reply import Part, Piece, Reply, ReplyParser

Json = dict[str, Any]
OnDecision = Callable[[Decision], None]

_ENGINE_ONLY = ("prompt_token_ids", "prompt_text", "kv_transfer_params", "prompt_routed_experts")
_REASONING_KEYS = {
    ReasoningField.REASONING_CONTENT: ("reasoning_content",),
    ReasoningField.REASONING: ("reasoning",),
    ReasoningField.BOTH: ("reasoning_content", "reasoning"),
    ReasoningField.OFF: (),
}


def read_decision(
    mode: Mode | None,
    source: Source,
    opening: Sequence[Mapping[str, Any]],
    tag_ids: TagIds,
    calibration: Calibration,
) -> Decision:
    """The decision of a reply from the log-probability entries of its first tokens.

    The entry at the parting index lists the token that was taken and its rival, both raw: the
    model's own, before any mask. `mass` is the product along the shared opening and both rivals.
    """
    if mode is None:
        return Decision(None, Source.FALLBACK)
    rivals = opening[tag_ids.parting]["top_logprobs"] if len(opening) > tag_ids.parting else ()
    if len(rivals) != 2:
        return Decision(mode, source)
    chosen, other = (float(entry["logprob"]) for entry in rivals)
    pair = (chosen, other) if mode is Mode.GENERAL else (other, chosen)
    shared = sum(float(entry["logprob"]) for entry in opening[: tag_ids.parting])
    mass = math.exp(shared) * (math.exp(chosen) + math.exp(other))
    return Decision(mode, source, calibration.probability(*pair), mass)


def extension(decision: Decision, plan: Plan) -> Json:
    """`personadual` in a reply."""
    persona = plan.persona
    return {
        "mode": decision.mode,
        "probability": decision.probability,
        "source": decision.source,
        "persona": {"id": persona.id, "version": persona.version, "status": persona.status},
    }


class ChoiceReader:
    """Reads one choice of one answer, in pieces or at once.

    `decision` is known once the reply's opening is: None until then. A decision that was taken
    before the answer (`given`) stands.
    """

    def __init__(self, plan: Plan, given: Decision | None = None) -> None:
        card = plan.served.card
        self._plan = plan
        self._given = given
        self._parser = ReplyParser(card.tags, reasons=card.reasons)
        self._opening: list[Any] = []
        self._unshown: list[Any] = []
        self._tag_left = 0
        self.decision: Decision | None = None

    @property
    def reply(self) -> Reply:
        return self._parser.reply

    def read(self, text: str) -> list[Piece]:
        pieces = self._parser.feed(text)
        if self.decision is None and self._parser.is_settled:
            self._settle()
        return pieces

    def finish(self) -> list[Piece]:
        pieces = self._parser.finish()
        if self.decision is None:
            self._settle()
        return pieces

    def note(self, entries: Sequence[Any]) -> None:
        """Log-probability entries, before the text that they belong to is read."""
        if self.decision is None:
            self._opening.extend(entries)

    def visible(self, entries: list[Any]) -> list[Any]:
        """Of entries per token, those of tokens behind the tag: none while it is not settled."""
        if self.decision is None:
            self._unshown.extend(entries)
            return []
        if self._unshown:
            entries, self._unshown = [*self._unshown, *entries], []
        if self._tag_left:
            entries, dropped = entries[self._tag_left :], min(self._tag_left, len(entries))
            self._tag_left -= dropped
        return entries

    def _settle(self) -> None:
        mode, served = self._parser.mode, self._plan.served
        read = read_decision(
            mode, self._plan.source, self._opening, served.tag_ids, served.card.calibration
        )
        self.decision = self._given if self._given and mode else read
        self._tag_left = 0 if mode is None else len(served.tag_ids[mode])
        self._opening = []


def split(pieces: Sequence[Piece]) -> tuple[str, str]:
    """Reasoning and answer text of some pieces."""
    if len(pieces) == 1:
        part, text = pieces[0]
        return (text, "") if part is Part.REASONING else ("", text)
    reasoning = "".join(text for part, text in pieces if part is Part.REASONING)
    return reasoning, "".join(text for part, text in pieces if part is Part.ANSWER)


def read_whole(
    answer: Json, plan: Plan, field: ReasoningField, given: Decision | None = None
) -> tuple[Json, list[Decision]]:
    """Turn a whole answer into the caller's; also its decisions, one per choice.

    Raises:
        EngineBroken: it is not an OpenAI chat completion.
    """
    try:
        decisions = [_read_choice(choice, plan, field, given) for choice in answer["choices"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineBroken("the engine's answer is not a chat completion") from error
    for name in _ENGINE_ONLY:
        answer.pop(name, None)
    answer["model"] = plan.request.model or plan.served.name
    answer["personadual"] = extension(decisions[0], plan)
    for choice, decision in zip(answer["choices"], decisions, strict=True):
        if len(decisions) > 1:
            choice["personadual"] = extension(decision, plan)
    return answer, decisions


def _read_choice(
    choice: Json, plan: Plan, field: ReasoningField, given: Decision | None
) -> Decision:
    reader, message = ChoiceReader(plan, given), choice["message"]
    entries = (choice.get("logprobs") or {}).get("content") or []
    reader.note(entries)
    reader.read(message.get("content") or "")
    reader.finish()
    reply = reader.reply
    is_call_alone = bool(message.get("tool_calls")) and not reply.answer
    message["content"] = None if is_call_alone else reply.answer
    message.pop("reasoning", None)
    for key in _REASONING_KEYS[field]:
        message[key] = reply.reasoning or None
    decision = reader.decision or Decision(None, Source.FALLBACK)
    token_ids = choice.pop("token_ids", None)
    if token_ids:
        tag = plan.served.tag_ids[decision.mode] if decision.mode else ()
        choice["token_ids"] = token_ids[len(tag) :]
    choice["logprobs"] = _shown_logprobs(reader.visible(entries), plan)
    return decision


def _shown_logprobs(entries: list[Any], plan: Plan) -> Json | None:
    """The caller's log-probabilities: all that it asked for, and none of ours."""
    if not plan.request.logprobs:
        return None
    if plan.request.top_logprobs:
        return {"content": entries}
    return {"content": [{**entry, "top_logprobs": []} for entry in entries]}


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
        self._keys = _REASONING_KEYS[field]
        self._on_decision = on_decision
        self._given = given
        self._model = plan.request.model or plan.served.name
        self._wants_usage = bool((plan.request.stream_options or {}).get("include_usage"))
        self._wants_logprobs = bool(plan.request.logprobs)
        self._readers: dict[int, ChoiceReader] = {}
        self.usage: Json | None = None
        self.has_text = False

    def read(self, payload: bytes) -> bytes:
        """The caller's events for one of the engine's; empty where there is nothing to show yet.

        Raises:
            EngineBroken: the event is no chunk, or reports a failure.
        """
        try:
            chunk = orjson.loads(payload)
            choices = chunk["choices"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EngineBroken("the engine failed while it answered") from error
        usage = chunk.get("usage")
        if usage:
            self.usage = usage
        if not self._wants_usage:
            chunk.pop("usage", None)
        for name in _ENGINE_ONLY:
            chunk.pop(name, None)
        chunk["model"] = self._model
        if not choices:
            return _event(chunk) if self._wants_usage else b""
        return b"".join([self._read_choice(chunk, choice) for choice in choices])

    def _read_choice(self, chunk: Json, choice: Json) -> bytes:
        index = choice["index"]
        reader = self._readers.get(index)
        if reader is None:
            reader = self._readers[index] = ChoiceReader(self._plan, self._given)
        was_settled = reader.decision is not None
        delta = choice["delta"]
        entries = (choice.get("logprobs") or {}).get("content")
        if entries and not was_settled:
            reader.note(entries)
        content = delta.pop("content", None)
        pieces = reader.read(content) if content else []
        is_last = choice.get("finish_reason") is not None
        if is_last:
            pieces = [*pieces, *reader.finish()]
        opening = b""
        if not was_settled:
            if reader.decision is None:
                if self._wants_logprobs:
                    reader.visible(entries or [])
                return b""
            self._on_decision(reader.decision)
            opening = self._opening(chunk, index, reader.decision)
        delta.pop("role", None)
        delta.pop("reasoning", None)
        self._fill(delta, pieces)
        shown = reader.visible(entries or []) if self._wants_logprobs else ()
        choice["logprobs"] = _shown_logprobs(list(shown), self._plan) if shown else None
        choice.pop("token_ids", None)
        if not (delta or is_last or shown):
            return opening
        chunk["choices"] = [choice]
        return opening + _event(chunk)

    def _fill(self, delta: Json, pieces: Sequence[Piece]) -> None:
        if not pieces:
            return
        reasoning, answer = split(pieces)
        if answer:
            delta["content"] = answer
            self.has_text = True
        if reasoning and self._keys:
            for key in self._keys:
                delta[key] = reasoning
            self.has_text = True

    def _opening(self, chunk: Json, index: int, decision: Decision) -> bytes:
        """The first chunk of a choice: the role, and how it is answered."""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        first = {**chunk, "choices": [choice], "personadual": extension(decision, self._plan)}
        return _event(first)


def _event(chunk: Json) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
