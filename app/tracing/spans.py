"""The spans of one request: itself, its look-up of a persona, its calls of the engine.

Times and outcomes are read from the request's `Course` when it is over, so a stream of any
length makes no more spans than a short one. Attributes are numbers, values of enums, the served
model's name and the request's id: nothing that a user said, and no id of a user or key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from app.chat.course import Course
from model.engine import Body
from model.errors import PersonaDualError

W3C = TraceContextTextMapPropagator()
FIRST_ERROR = 500
"""From this status on a failure is not the caller's."""
_USAGE = (("input", "prompt_tokens"), ("output", "completion_tokens"))


class EngineCall:
    """A call of the engine; its span is written when the request is over."""

    def __init__(self, span: Span) -> None:
        self.error: str | None = None
        self._span = span
        self._begun = time.perf_counter()
        self._ended = float("inf")
        self._ended_ns: int | None = None

    def end(self, error: Exception | None = None) -> None:
        """The call is over; the first end counts."""
        if self._ended_ns is None:
            self._ended, self._ended_ns = time.perf_counter(), time.time_ns()
            self.error = None if error is None else _kind(error)

    def drop(self) -> None:
        """The call is given up, if it is not over: its caller left, or the mode was general."""
        if self._ended_ns is None:
            self._span.set_attribute("personadual.dropped", True)
            self.end()

    def write(self, course: Course, *, is_last: bool) -> None:
        """Put the span on its way, with what became known of the call."""
        self.end()
        facts: dict[str, AttributeValue] = {}
        for name, at in (("tag", course.decided_at), ("first_text", course.text_at)):
            if at is not None and self._begun <= at <= self._ended:
                facts[f"personadual.{name}_s"] = round(at - self._begun, 6)
        if is_last and course.usage:
            for name, counted in _USAGE:
                facts[f"gen_ai.usage.{name}_tokens"] = course.usage.get(counted) or 0
        self._span.set_attributes(facts)
        if self.error is not None:
            _fail(self._span, self.error)
        self._span.end(self._ended_ns)


class RequestSpan:
    """A request that is traced, and what it asks of others."""

    def __init__(self, tracer: Tracer, name: str, parent: Context) -> None:
        self._tracer = tracer
        self._span = tracer.start_span(name, parent, SpanKind.SERVER)
        self._context = set_span_in_context(self._span, parent)
        self._calls: list[EngineCall] = []
        # Of a request that is not sampled the engine hears, and nothing else is to be done.
        self.is_recording = self._span.is_recording()
        self.trace_id = f"{self._span.get_span_context().trace_id:032x}"

    @contextmanager
    def lookup(self, *, is_cached: bool) -> Iterator[Span]:
        """A look-up of a persona; where it fails its span says so."""
        span = self._tracer.start_span("persona lookup", self._context)
        span.set_attribute("personadual.persona.cached", is_cached)
        try:
            yield span
        except PersonaDualError as error:
            _fail(span, error.code)
            raise
        finally:
            span.end()

    def call(self, body: Body) -> tuple[EngineCall, dict[str, str]]:
        """A call of the engine, and the headers by which the engine goes on with the trace."""
        model = body["model"]
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": model,
            "gen_ai.request.stream": bool(body.get("stream")),
        }
        span = self._tracer.start_span(
            f"chat {model}", self._context, SpanKind.CLIENT, attributes=attributes
        )
        call = EngineCall(span)
        self._calls.append(call)
        return call, _headers_of(set_span_in_context(span, self._context))

    def headers(self) -> dict[str, str]:
        """The headers by which somebody goes on with the trace behind the request itself."""
        return _headers_of(self._context)

    def end(self, course: Course, status: int, facts: Mapping[str, AttributeValue]) -> None:
        """The request is over."""
        error = None
        for call in self._calls:
            call.write(course, is_last=call is self._calls[-1])
            error = call.error
        self._span.set_attributes(
            {**facts, "http.response.status_code": status, **_facts_of(course)}
        )
        if status >= FIRST_ERROR:
            _fail(self._span, str(status))
        elif status < 400 and error is not None:
            _fail(self._span, error)  # a stream that had begun
        self._span.end()


def _facts_of(course: Course) -> dict[str, AttributeValue]:
    """What was decided, in words of fixed lists; nothing where no decision was taken."""
    decision, persona = course.decision, course.persona
    if decision is None or persona is None:
        return {}
    facts: dict[str, AttributeValue] = {
        "personadual.source": decision.source.value,
        "personadual.persona.status": persona.value,
    }
    if decision.mode is not None:
        facts["personadual.mode"] = decision.mode.value
    if decision.probability is not None:
        facts["personadual.probability"] = decision.probability
    return facts


def _headers_of(context: Context) -> dict[str, str]:
    headers: dict[str, str] = {}
    W3C.inject(headers, context)
    return headers


def _kind(error: Exception) -> str:
    return error.code if isinstance(error, PersonaDualError) else type(error).__name__


def _fail(span: Span, kind: str) -> None:
    """By a word for its kind: the text of an error may repeat what was sent."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
