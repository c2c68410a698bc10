"""The course of one request: its times, and what came of it. Knows no HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from model.decision import Decision
from model.errors import PersonaDualError
from model.persona import PersonaStatus


@dataclass(slots=True)
class Course:
    """Tells our own time from the engine's and from the caller's, who sends its request, and what
    the engine did: its tokens as it counted them, and the events of a stream so far.

    `decided_at` and `text_at` are when the decision was known and the first text went out; the
    decision is the first choice's. `dropped`: tokens that the engine wrote into a stream that was
    opened for its decision alone. `is_over`: of a stream, all but its last event has gone out;
    `error`: what it ended with instead, when its status had gone out long before.
    """

    begun: float = field(default_factory=time.perf_counter)
    engine_s: float = 0.0
    caller_s: float = 0.0
    tokens: int = 0
    streamed: int = 0
    dropped: int = 0
    usage: Mapping[str, Any] | None = None
    decision: Decision | None = None
    persona: PersonaStatus | None = None
    decided_at: float | None = None
    text_at: float | None = None
    is_over: bool = False
    error: PersonaDualError | None = None

    @contextmanager
    def engine(self) -> Iterator[None]:
        asked = time.perf_counter()
        try:
            yield
        finally:
            self.engine_s += time.perf_counter() - asked

    @contextmanager
    def caller(self) -> Iterator[None]:
        waited = time.perf_counter()
        try:
            yield
        finally:
            self.caller_s += time.perf_counter() - waited

    def decide(self, decision: Decision, persona: PersonaStatus) -> None:
        """Hear of the decision; of several choices the first one's stays."""
        if self.decision is None:
            self.decision, self.persona = decision, persona
            self.part()

    def part(self) -> None:
        """The tag has come as far as its decision."""
        if self.decided_at is None:
            self.decided_at = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.begun

    @property
    def own_s(self) -> float:
        return self.elapsed_s - self.engine_s - self.caller_s
