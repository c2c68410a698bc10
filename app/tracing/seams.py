"""Where spans begin: around the gateway, its personas and its engine. Without tracing none of
these stands in the way of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.trace import Tracer
from starlette.types import ASGIApp, Receive, Scope, Send

from app.chat.course import Course
from app.http.edge import NOT_ANSWERED, route_of
from app.logs import request_id, trace_id
from app.metrics import Route
from app.personas import PersonaCache, PersonaKey
from app.tracing.spans import W3C, EngineCall, RequestSpan
from model.engine import Answering, Body, EngineStream, Headers
from model.persona import Persona

# What is asked every few seconds, by machines, is not traced; nor are the console's files.
TRACED = {
    Route.CHAT: "/v1/chat/completions",
    Route.MODE: "/v1/mode",
    Route.MODELS: "/v1/models",
    Route.PERSONAS: "/v1/personas",
    Route.KEYS: "/v1/keys",
}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_CONTEXT_HEADERS = {b"traceparent", b"tracestate"}
_current: ContextVar[RequestSpan | None] = ContextVar("request_span", default=None)


class TracedEdge:
    """Gives each request its span, as a part of the caller's trace where it names one.

    Stands around `app.http.edge.Edge`. Pure ASGI, and no span per message: a stream has
    thousands.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = TRACED.get(route_of(scope["path"])) if scope["type"] == "http" else None
        if place is None:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        # A method may be any word of the caller's.
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        span = RequestSpan(self._tracer, f"{method} {place}", _context_of(scope["headers"]))
        current, named = _current.set(span), trace_id.set(span.trace_id)
        try:
            await self._app(scope, receive, send)
        finally:
            # A pipelined request begins in the context of the one before.
            _current.reset(current)
            trace_id.reset(named)
            course: Course = state.get("course") or Course()
            facts = {
                "http.request.method": method,
                "http.route": place,
                "personadual.request_id": request_id.get() or "",
            }
            span.end(course, state.get("status", NOT_ANSWERED), facts)


class TracedPersonas:
    """`app.personas.Personas` over the cache."""

    def __init__(self, personas: PersonaCache) -> None:
        self._personas = personas

    async def get(self, key: PersonaKey) -> Persona | None:
        span = _current.get()
        if span is None or not span.is_recording:
            return await self._personas.get(key)
        with span.lookup(is_cached=self._personas.holds(key)) as lookup:
            persona = await self._personas.get(key)
            lookup.set_attribute("personadual.persona.found", persona is not None)
            return persona


class TracedEngine:
    """`model.engine.Answering` over another; the engine is told of the trace."""

    def __init__(self, engine: Answering) -> None:
        self._engine = engine

    async def complete(self, body: Body, headers: Headers | None = None) -> bytes:
        call, headers = _called(body, headers)
        if call is None:
            return await self._engine.complete(body, headers)
        with _told(call):
            answer = await self._engine.complete(body, headers)
        call.end()
        return answer

    async def stream(self, body: Body, headers: Headers | None = None) -> EngineStream:
        call, headers = _called(body, headers)
        if call is None:
            return await self._engine.stream(body, headers)
        with _told(call):
            return _TracedStream(await self._engine.stream(body, headers), call)


class _TracedStream:
    def __init__(self, stream: EngineStream, call: EngineCall) -> None:
        self._stream = stream
        self._call = call

    async def events(self) -> AsyncIterator[list[bytes]]:
        with _told(self._call):
            async for payloads in self._stream.events():
                yield payloads
        self._call.end()

    def close(self) -> None:
        self._stream.close()
        self._call.drop()


def _called(body: Body, headers: Headers | None) -> tuple[EngineCall | None, Headers | None]:
    """The span of a call where the request is recorded, and the headers that go with it."""
    span = _current.get()
    if span is None:
        return None, headers
    if not span.is_recording:
        return None, {**(headers or {}), **span.headers()}
    call, own = span.call(body)
    return call, {**(headers or {}), **own}


@contextmanager
def _told(call: EngineCall) -> Iterator[None]:
    """The call hears how what is in the block fails."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        call.drop()
        raise
    except Exception as error:
        call.end(error)
        raise


def _context_of(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The caller's trace, by the W3C headers; what is no such thing is passed over."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in _CONTEXT_HEADERS:
            key, text = name.decode(), value.decode("latin-1")
            found[key] = f"{found[key]},{text}" if key in found else text
    return W3C.extract(found, Context()) if found else Context()
