"""Replies: what the engine says, turned into what the caller reads. Pure but for JSON.

The tag goes, with its entries among log-probabilities and token ids; reasoning and answer go to
their fields; the decision is read and shown; usage says what was the tag's. Whole answers and
`app.chat.stream` share `ChoiceReader`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, ValidationError, convert

from app.chat import wire
from app.chat.aligned import AlignedEntries
from app.chat.plan import Plan
from app.chat.stops import AnswerStops
from app.settings import ReasoningField
from model.decision import Calibration, Decision, Source
from model.errors import EngineBroken
from model.mode import Mode, TagIds
from model.reply import Part, Piece, ReplyParser

ENDS = ("stop", "length")
"""Why a choice may have ended whose answer a stop text had ended before."""
REASONING_KEYS = {
    ReasoningField.REASONING_CONTENT: ("reasoning_content",),
    ReasoningField.REASONING: ("reasoning",),
    ReasoningField.BOTH: ("reasoning_content", "reasoning"),
    ReasoningField.OFF: (),
}


def read_decision(
    mode: Mode | None,
    source: Source,
    opening: Sequence[wire.Entry],
    tag_ids: TagIds,
    calibration: Calibration,
) -> Decision:
    """The decision of a reply from the log-probability entries of its first tokens.

    The entry at the parting index lists the token that was taken and its rival, both raw: the
    model's own, before any mask. `mass` is the product along the shared opening and both rivals.
    """
    if mode is None:
        return Decision(None, Source.FALLBACK)
    rivals = opening[tag_ids.parting].top_logprobs if len(opening) > tag_ids.parting else ()
    if len(rivals) != 2:
        return Decision(mode, source)
    chosen, other = rivals[0].logprob, rivals[1].logprob
    log_odds = other - chosen if mode is Mode.GENERAL else chosen - other
    shared = sum(entry.logprob for entry in opening[: tag_ids.parting])
    mass = math.exp(shared) * (math.exp(chosen) + math.exp(other))
    return Decision(mode, source, calibration.probability(log_odds), mass)


def read_probe(raw: bytes, plan: Plan) -> tuple[Decision, wire.Usage]:
    """The decision of an answer that ends with the deciding token, and what it cost.

    Raises:
        EngineBroken: it is not an OpenAI chat completion.
    """
    try:
        answer = wire.decode_completion(raw)
        choice = answer.choices[0]
    except (*wire.UNREADABLE, IndexError) as error:
        raise EngineBroken("the engine's answer is not a chat completion") from error
    card, tag_ids = plan.served.card, plan.served.tag_ids
    message = choice.message
    mode = card.tags.parted(text_of(plan, message.get("reasoning"), message.get("content")))
    entries = choice.logprobs.content if choice.logprobs else None
    decision = read_decision(mode, plan.source, entries or [], tag_ids, card.calibration)
    return decision, answer.usage or {}


def reasoning_keys(plan: Plan, field: ReasoningField) -> tuple[str, ...]:
    """Under which names the reasoning goes out; none where the caller does not want it."""
    return () if plan.request.include_reasoning is False else REASONING_KEYS[field]


def text_of(plan: Plan, reasoning: str | None, content: str | None) -> str:
    """What the model wrote. Where a call is forced the engine says the tag as its reasoning."""
    return f"{reasoning}{content or ''}" if reasoning and plan.served.has_gate else content or ""


def text_in(part: Part, pieces: Sequence[Piece]) -> str:
    return "".join([text for of, text in pieces if of is part])


def told_usage(usage: wire.Usage, plan: Plan, readers: Iterable[ChoiceReader]) -> wire.Usage:
    """The engine's counts, and how many of its completion tokens opened the mode.

    The engine's plug-in counts the tokens of reasoning; a 0 where there was some comes from an
    engine without it, and says nothing.
    """
    if not plan.served.has_gate:
        return usage
    details = dict(usage.get("completion_tokens_details") or {})
    details["tag_tokens"] = 0
    for reader in readers:
        details["tag_tokens"] += reader.tag_tokens
        if reader.has_reasoning and not details.get("reasoning_tokens"):
            details.pop("reasoning_tokens", None)
    return {**usage, "completion_tokens_details": details}


def extension(decision: Decision, plan: Plan) -> dict[str, Any]:
    """`personadual` in a reply."""
    persona = plan.persona
    shown: dict[str, Any] = {
        "mode": decision.mode,
        "probability": decision.probability,
        "source": decision.source,
        "persona": {"id": persona.id, "version": persona.version, "status": persona.status},
    }
    if decision.source is Source.POLICY:
        shown["rule"] = plan.rule
    return shown


class ChoiceReader:
    """Reads one choice of one answer, in pieces or at once.

    `decision` is known once the reply's opening is: None until then. A decision that was taken
    before the answer (`given`) stands.
    """

    def __init__(self, plan: Plan, given: Decision | None = None) -> None:
        card = plan.served.card
        self._plan = plan
        self._given = given
        self._parser = ReplyParser(card.tags, reasons=card.reasons, has_grammar=plan.has_grammar)
        self._opening: list[Any] = []
        self._aligned = AlignedEntries() if plan.request.logprobs else None
        shows_it = plan.raw.get("include_stop_str_in_output") is True
        self._stops = AnswerStops(plan.stops, shows_it=shows_it) if plan.stops else None
        self._has_call = False
        self.tag_tokens = 0
        self.is_opened = False
        self.decision: Decision | None = None

    @property
    def answer(self) -> str:
        """The answer so far."""
        answer = self._parser.reply.answer
        return answer if self._stops is None else answer[: self._stops.shown]

    def tell_stop(self, choice: wire.WholeChoice[Any] | wire.ChunkChoice[Any]) -> None:
        """Say at its end that a stop text ended the answer, of which the engine was not told."""
        if self._stops is not None and self._stops.found and choice.finish_reason in ENDS:
            choice.finish_reason, choice.stop_reason = "stop", self._stops.found

    @property
    def has_reasoning(self) -> bool:
        return self._parser.has_reasoning

    def read(self, text: str) -> list[Piece]:
        pieces = self._parser.feed(text)
        return pieces if self._stops is None else self._stops.cut(pieces)

    def read_opening(self, text: str, entries: list[Any]) -> list[Piece]:
        """Read while the decision is not known: text, and the entries of its tokens."""
        self._opening.extend(entries)
        pieces = self.read(text)
        if self._parser.is_settled and self.decision is None:
            self.settle()
        return pieces

    def note_call(self) -> None:
        """A call of a tool came: where no tag did, none is to come."""
        self._has_call = True
        if self.decision is None:
            self.settle()

    def finish(self) -> list[Piece]:
        pieces = self._parser.finish(is_call=self._has_call)
        if self.decision is None:
            self.settle()
        return pieces if self._stops is None else self._stops.cut(pieces, is_last=True)

    def visible(self, text: str, entries: list[Any], *, is_last: bool) -> list[Any]:
        """The entries of the answer's tokens, as far as they are known: of this text and before.

        Nothing for a caller that did not ask for them.
        """
        parser = self._parser
        if self._aligned is None:
            return []
        self._aligned.add(text, entries, is_last=is_last)
        spans, certain_to = parser.answer_spans, parser.certain_to
        if self._stops is not None:
            spans, certain_to = self._stops.seen(spans, certain_to)
        return self._aligned.take(spans, certain_to, is_last=is_last)

    def settle(self) -> None:
        """Say how the reply opened, by what has been read of it."""
        mode, served = self._parser.mode, self._plan.served
        if self._given is not None and mode is not None:
            self.decision = self._given
        else:
            # The caller's own log-probabilities are kept as they came; ours are typed already.
            opening = self._typed_opening(served.tag_ids.parting + 1)
            self.decision = read_decision(
                mode, self._plan.source, opening, served.tag_ids, served.card.calibration
            )
        self.tag_tokens = 0 if mode is None else len(served.tag_ids[mode])
        self._opening = []

    def _typed_opening(self, count: int) -> list[wire.Entry]:
        if self._plan.request.top_logprobs:
            return []  # the likeliest tokens, as the caller asked; not the two rivals
        try:
            return convert(self._opening[:count], list[wire.Entry])
        except ValidationError as error:
            raise EngineBroken("the engine's log-probabilities cannot be read") from error


def read_whole(
    raw: bytes, plan: Plan, field: ReasoningField, given: Decision | None = None
) -> tuple[wire.Completion[Any], list[Decision]]:
    """Turn a whole answer into the caller's; also its decisions, one per choice.

    Raises:
        EngineBroken: it is not an OpenAI chat completion.
    """
    try:
        answer: wire.Completion[Any]
        if plan.request.logprobs:
            answer = wire.decode_full_completion(raw)
        else:
            opening = plan.served.tag_ids.parting + 1
            answer = wire.decode_completion(wire.cut_entries(raw, opening))
    except wire.UNREADABLE as error:
        raise EngineBroken("the engine's answer is not a chat completion") from error
    if not answer.choices:
        raise EngineBroken("the engine's answer has no choices")
    readers = [_read_choice(choice, plan, field, given) for choice in answer.choices]
    decisions = [reader.decision or Decision(None, Source.FALLBACK) for reader in readers]
    answer.model = plan.request.model or plan.served.name
    answer.personadual = extension(decisions[0], plan)
    if answer.usage:
        answer.usage = told_usage(answer.usage, plan, readers)
    if len(decisions) > 1:
        for index, decision in enumerate(decisions):
            answer.choices[index].personadual = extension(decision, plan)
    return answer, decisions


def _read_choice(
    choice: wire.WholeChoice[Any], plan: Plan, field: ReasoningField, given: Decision | None
) -> ChoiceReader:
    reader, message = ChoiceReader(plan, given), choice.message
    entries = (choice.logprobs.content if choice.logprobs else None) or []
    text = text_of(plan, message.pop("reasoning", None), message.get("content"))
    pieces = reader.read_opening(text, entries)
    if message.get("tool_calls"):
        reader.note_call()
    pieces += reader.finish()
    # Piece by piece, as a stream is told: where no answer marker came, its text went out as
    # reasoning before it was known to be the answer, and the two say the same.
    reasoning, answer = text_in(Part.REASONING, pieces), text_in(Part.ANSWER, pieces)
    is_call_alone = bool(message.get("tool_calls")) and not answer
    message["content"] = None if is_call_alone else answer
    for key in reasoning_keys(plan, field):
        message[key] = reasoning or None
    choice.token_ids = choice.token_ids[reader.tag_tokens :] if choice.token_ids else UNSET
    reader.tell_stop(choice)
    choice.logprobs = None
    if plan.request.logprobs:
        choice.logprobs = shown_logprobs(reader.visible(text, entries, is_last=True), plan)
    return reader


def shown_logprobs(entries: list[Any], plan: Plan) -> wire.Logprobs[Any]:
    """The caller's log-probabilities: all that it asked for, and none of ours."""
    if not plan.request.top_logprobs:
        entries = [{**entry, "top_logprobs": []} for entry in entries]
    return wire.Logprobs(entries)
