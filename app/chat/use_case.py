"""The use case: one chat request, from persona to reply. Knows no HTTP and no Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from app.access.auth import Caller
from app.access.policies import Policies
from app.access.policy import Ruling
from app.chat import wire
from app.chat.course import Course
from app.chat.plan import PersonaChoice, PersonaUse, Plan, choose_persona, make_plan, salt_of
from app.chat.replies import read_probe, read_whole
from app.chat.served import Served, ServedModel
from app.chat.stream import Peeked, StreamReader
from app.metrics import Metrics
from app.personas import Personas
from app.schemas import ChatRequest
from app.settings import ReasoningField
from app.shadow.shadows import Shadows
from model.decision import Decision, Source
from model.engine import Answering, EngineStream
from model.errors import (
    EngineBroken,
    EngineBusy,
    EngineUnavailable,
    StoreUnavailable,
)
from model.mode import Mode
from model.persona import PersonaStatus

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat request as it came: checked, raw, and what stands beside the body."""

    request: ChatRequest
    raw: Mapping[str, Any]
    persona_header: str | None
    course: Course
    caller: Caller


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer; `decision` is the first choice's."""

    json: bytes
    decision: Decision
    persona: PersonaUse


class Chat:
    """Answers chat requests with one engine and one store."""

    def __init__(
        self,
        engine: Answering,
        served: ServedModel,
        personas: Personas,
        policies: Policies,
        metrics: Metrics,
        reasoning_field: ReasoningField,
        shadows: Shadows | None = None,
    ) -> None:
        self._engine = engine
        self._served = served
        self._personas = personas
        self._policies = policies
        self._metrics = metrics
        self._reasoning_field = reasoning_field
        self._shadows = shadows

    async def answer(self, asked: Asked) -> Answered:
        """Answer at once.

        Raises:
            PersonaDualError: what was asked is wrong, or the store or the engine is away.
        """
        plan, given = await self._decided(await self._plan(asked), asked.course)
        with asked.course.engine():
            raw = await self._ask(self._engine.complete(plan.body()))
        shown, decisions = read_whole(raw, plan, self._reasoning_field, given)
        for decision in decisions:
            self._count_decision(plan, decision, asked.course)
        self._count_end(plan, decisions[0].mode, asked.course, shown.usage)
        if self._shadows is not None:
            message = shown.choices[0].message
            self._shadows.offer(plan, decisions[0], lambda: message["content"])
        return Answered(wire.encode(shown), decisions[0], plan.persona)

    async def open(self, asked: Asked) -> AsyncGenerator[bytes, None]:
        """Open a streamed answer: what can be refused is refused here, before the first byte."""
        plan = await self._plan(asked)
        if plan.is_probed and plan.may_go_on:
            return await self._open_strict(plan, asked.course)
        plan, given = await self._decided(plan, asked.course)
        stream = await self._stream(plan, asked.course)
        return self._relay(stream, plan, given, asked.course)

    async def decide(self, asked: Asked) -> tuple[Decision, Plan, wire.Usage]:
        """Take the decision alone; also the engine's token counts."""
        plan = await self._plan(asked)
        if not plan.served.has_gate:
            raise EngineUnavailable("the engine has no PersonaDual gate, so it decides no modes")
        decision, usage = await self._probe(plan, asked.course)
        if decision.mode is None or decision.probability is None:
            raise EngineBroken("the engine took no decision")
        asked.course.usage = usage
        asked.course.tokens += sum(wire.counted(usage))
        self._count_decision(plan, decision, asked.course)
        return decision, plan, usage

    def threshold(self, caller: Caller, served: Served) -> float:
        """The threshold for a caller whose request names none: its policy's, else the card's."""
        chosen = self._policies.ruling(caller).threshold
        return served.card.calibration.threshold if chosen is None else chosen

    async def _decided(self, plan: Plan, course: Course) -> tuple[Plan, Decision | None]:
        """The plan, and its decision where that has to come before the answer."""
        if not plan.is_probed:
            return plan, None
        decision, usage = await self._probe(plan, course)
        course.tokens += sum(wire.counted(usage))
        return _follow(plan, decision)

    async def _open_strict(self, plan: Plan, course: Course) -> AsyncGenerator[bytes, None]:
        """Open a stream with the persona, and go on with it only if its mode is personalised."""
        stream = Peeked(await self._stream(plan, course))
        is_kept = False
        try:
            with course.engine():
                decision = await stream.decision(plan)
            course.part()
            is_kept = decision.mode is Mode.PERSONALIZED
        finally:
            if not is_kept:
                stream.close()
        if is_kept:
            return self._relay(stream, plan, None, course)
        course.dropped = plan.served.tag_ids.parting + 1
        plan, given = _follow(plan, decision)
        return self._relay(await self._stream(plan, course), plan, given, course)

    async def _stream(self, plan: Plan, course: Course) -> EngineStream:
        with course.engine():
            return await self._ask(self._engine.stream(plan.body()))

    async def _plan(self, asked: Asked) -> Plan:
        choice = choose_persona(asked.request, asked.persona_header)
        with asked.course.engine():
            served = await self._served.get()
        ruling = self._policies.ruling(asked.caller)
        persona = await self._persona(choice, ruling)
        is_alone = asked.caller.key_id is None
        salt = salt_of(asked.request, choice, asked.caller.tenant, is_alone=is_alone)
        return make_plan(asked.request, asked.raw, served, ruling, choice, persona, salt)

    async def _persona(self, choice: PersonaChoice, ruling: Ruling) -> PersonaUse:
        if choice.id is None:
            return PersonaUse.of(choice, None)
        try:
            persona = await self._personas.get((ruling.tenant, choice.id))
        except StoreUnavailable:
            if ruling.when_store_away == "refuse":
                raise
            return PersonaUse(PersonaStatus.UNAVAILABLE, choice.id)
        return PersonaUse.of(choice, persona)

    async def _probe(self, plan: Plan, course: Course) -> tuple[Decision, wire.Usage]:
        with course.engine():
            raw = await self._ask(self._engine.complete(plan.probe()))
        return read_probe(raw, plan)

    async def _relay(
        self, stream: EngineStream, plan: Plan, given: Decision | None, course: Course
    ) -> AsyncGenerator[bytes, None]:
        decisions: list[Decision] = []

        def note(decision: Decision) -> None:
            decisions.append(decision)
            self._count_decision(plan, decision, course)

        reader = StreamReader(plan, self._reasoning_field, note, given)
        try:
            async for payloads in stream.events():
                course.streamed += len(payloads)
                while payloads and not reader.has_text:
                    # The first text goes out alone, before the rest of a read is looked at.
                    shown = reader.read(payloads.pop(0))
                    if shown:
                        yield shown
                    if reader.has_text:
                        self._count_first_text(plan, decisions[0].mode, course)
                shown = reader.read_burst(payloads)
                if shown:
                    yield shown
            # Before the last event: who has that may come back at once.
            self._end(stream, plan, course, reader)
            yield DONE
            if self._shadows is not None and decisions:
                self._shadows.offer(plan, decisions[0], reader.answer)
        finally:
            self._end(stream, plan, course, reader)

    def _end(self, stream: EngineStream, plan: Plan, course: Course, reader: StreamReader) -> None:
        """Let the engine go and count what it did, once."""
        if not course.is_over:
            course.is_over = True
            stream.close()
            mode = None if course.decision is None else course.decision.mode
            self._count_end(plan, mode, course, reader.usage)

    async def _ask(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except EngineBusy:
            self._served.doubt()
            raise
        except EngineUnavailable:
            self._served.forget()
            raise

    def _count_decision(self, plan: Plan, decision: Decision, course: Course) -> None:
        course.decide(decision, plan.persona.status)
        if plan.is_counted:
            self._metrics.count_decision(decision, plan.persona.status)

    def _count_first_text(self, plan: Plan, mode: Mode | None, course: Course) -> None:
        course.text_at = time.perf_counter()
        if plan.is_counted and mode is not None:
            self._metrics.first_token_seconds(mode).observe(course.elapsed_s)

    def _count_end(
        self, plan: Plan, mode: Mode | None, course: Course, usage: Mapping[str, Any] | None
    ) -> None:
        course.usage = usage
        prompt, completion = wire.counted(usage)
        course.tokens += prompt + completion
        if usage and course.dropped:
            # The engine does not count what it drops; its prompt was no shorter than this one.
            course.tokens += prompt + course.dropped
        if plan.is_counted and mode is not None:
            self._metrics.request_seconds(mode).observe(course.elapsed_s)
            self._metrics.count_tokens(mode, prompt, completion)


def _follow(plan: Plan, decision: Decision) -> tuple[Plan, Decision | None]:
    """The plan after a decision that was taken before the answer."""
    if decision.mode is None:
        # Without a decision the strict way is the one without the persona.
        return replace(plan, source=Source.FALLBACK).decided(Mode.GENERAL), None
    return plan.decided(decision.mode), decision
