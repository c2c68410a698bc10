"""The edge: body size is bounded, requests are named, timed and counted. Pure ASGI, no wrapping.

Starlette's `BaseHTTPMiddleware` costs 75 us a streamed chunk and hides disconnects, so this is
one plain ASGI class.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.quota import Lease
from app.chat.course import Course
from app.errors import to_http
from app.http import request_ids
from app.http.ending import Ending
from app.jsonl import IMPORT_PATH
from app.logs import request_id
from app.metrics import Metrics, PersonaWrite, Rejection, Route
from model.errors import GatewayEnding, PersonaDualError, TooLarge

logger = logging.getLogger("personadual.gateway")

# A caller that is refused in the middle of its upload reads the answer only after it has sent
# all; beyond this many times the limit of a plain body it is cut off.
DRAIN_FACTOR = 4
BYTES_PER_TOKEN = 4
CLOSE = ((b"connection", b"close"),)
NOT_ANSWERED = 499
"""What counts for a caller who left before an answer began."""

WATCHING = (Route.HEALTH, Route.METRICS)
"""Not in flight: who scrapes would never see an idle gateway."""

_ROUTES = (
    ("/v1/chat/completions", Route.CHAT),
    ("/v1/mode", Route.MODE),
    ("/v1/models", Route.MODELS),
    ("/v1/personas", Route.PERSONAS),
    ("/v1/keys", Route.KEYS),
    ("/health", Route.HEALTH),
    ("/metrics", Route.METRICS),
)
_WRITES = {
    "PUT": PersonaWrite.PUT,
    "PATCH": PersonaWrite.PATCH,
    "DELETE": PersonaWrite.DELETE,
    "POST": PersonaWrite.IMPORT,
}


def route_of(path: str) -> Route:
    """The label of a path: one of few, whatever the caller asks for."""
    for prefix, route in _ROUTES:
        if path == prefix or path.startswith(prefix + "/"):
            return route
    return Route.OTHER


class Edge:
    """Gives every request an id, follows its course, bounds its body, counts it."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        ending: Ending,
        max_body_bytes: int,
        max_import_bytes: int,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._ending = ending
        self._max_body_bytes = max_body_bytes
        self._max_import_bytes = max_import_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _as_routed(scope)
        is_import = scope["path"] == IMPORT_PATH
        max_bytes = self._max_import_bytes if is_import else self._max_body_bytes
        course = Course()
        body = _Body(receive, course, max_bytes, DRAIN_FACTOR * self._max_body_bytes)
        exchange = _Exchange(scope, body, send, course, self._metrics, self._ending)
        is_watching = exchange.route in WATCHING
        inflight = self._metrics.inflight.track_inprogress()
        with contextlib.nullcontext() if is_watching else inflight:
            try:
                if exchange.announced_bytes > max_bytes:
                    await body.drain()
                    self._metrics.rejected(Rejection.TOO_LARGE).inc()
                    await exchange.refuse(body.too_large())
                else:
                    await self._app(scope, body.receive, exchange.send)
            except asyncio.CancelledError:
                # Who leaves ends in `ClientGone`: up to here only the server cancels, at its end.
                if exchange.status != NOT_ANSWERED:
                    raise
                await exchange.refuse(GatewayEnding("the gateway ended before its answer came"))
            except Exception as error:  # the edge of the process: nothing is behind it
                logger.exception("a request failed")
                if exchange.status == NOT_ANSWERED:
                    await exchange.refuse(PersonaDualError(type(error).__name__))
            finally:
                await exchange.end()
                # A stream that broke off has said 200, and is no success for that.
                broken = course.error and to_http(course.error).status
                self._count(exchange.route, broken or exchange.status, scope["method"])

    def _count(self, route: Route, status: int, method: str) -> None:
        self._metrics.requests(route, str(status)).inc()
        if route is Route.PERSONAS and status < 400 and method in _WRITES:
            self._metrics.persona_writes(_WRITES[method]).inc()


class _Exchange:
    """One request, and how it is answered."""

    def __init__(
        self,
        scope: Scope,
        body: _Body,
        send: Send,
        course: Course,
        metrics: Metrics,
        ending: Ending,
    ) -> None:
        self._scope = scope
        self._body = body
        self._send = send
        self._metrics = metrics
        self._ending = ending
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._course = self._state["course"] = course
        headers = dict(scope["headers"])
        self._id = self._state[request_ids.STATE] = request_ids.id_for(
            headers.get(request_ids.HEADER)
        )
        request_id.set(self._id.decode())
        self.announced_bytes = int(headers.get(b"content-length") or 0)
        self.route = route_of(scope["path"])
        self.status = NOT_ANSWERED

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = self._state["status"] = message["status"]
            own_s = self._course.own_s
            if self.route is Route.CHAT:
                self._metrics.overhead_seconds.observe(own_s)
            overhead_ms = f"{own_s * 1000:.2f}".encode()
            message["headers"] = [
                *message.get("headers", ()),
                (request_ids.HEADER, self._id),
                (b"x-personadual-overhead-ms", overhead_ms),
                *self._state.get("ratelimit", ()),
                *(CLOSE if self._ending.has_begun else ()),
            ]
        elif self.status != NOT_ANSWERED and self._is_last(message):
            # Before the end is out: who has it may come back at once.
            await self._end_lease(self._course.tokens or self._course.streamed)
        await self._send(message)

    def _is_last(self, message: Message) -> bool:
        """Whether nothing comes after it that its reader waits for."""
        return self._course.is_over or not message.get("more_body")

    async def refuse(self, error: PersonaDualError) -> None:
        await to_http(error).to_response()(self._scope, self._body.receive, self.send)

    async def end(self) -> None:
        """Give back what the request still holds."""
        # The lease is still there where the caller left: for what it was sent, and a guess at
        # its prompt.
        await self._end_lease(self._course.streamed + self._body.seen_bytes // BYTES_PER_TOKEN)

    async def _end_lease(self, tokens: int) -> None:
        lease: Lease | None = self._state.pop("lease", None)
        if lease is not None:
            await lease.end(tokens)


class _Body:
    """Bounds a body that does not say its length before it comes, and times the wait for it."""

    def __init__(self, receive: Receive, course: Course, max_bytes: int, drain_bytes: int) -> None:
        self._receive = receive
        self._course = course
        self._max_bytes = max_bytes
        self._drain_bytes = drain_bytes
        self.seen_bytes = 0
        self._is_over = False

    async def receive(self) -> Message:
        if self._is_over:  # what is left to hear is that the caller left
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request" and self.seen_bytes > self._max_bytes:
            await self.drain()
            raise self.too_large()
        return message

    async def drain(self) -> None:
        """Read on and throw away, so that the caller gets to read the refusal."""
        until_bytes = self.seen_bytes + self._drain_bytes
        while not self._is_over and self.seen_bytes <= until_bytes:
            await self._next()

    async def _next(self) -> Message:
        with self._course.caller():
            message = await self._receive()
        self.seen_bytes += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        return message

    def too_large(self) -> TooLarge:
        return TooLarge(f"the body is over the limit of {self._max_bytes} bytes", field="body")


def _as_routed(scope: Scope) -> Scope:
    """A slash at the end of a path names the same thing, and HEAD is GET without the body, which
    the server leaves out. A redirect would cost callers a turn, and some their body or key."""
    method, path = scope["method"], scope["path"]
    if method != "HEAD" and not path.endswith("/"):
        return scope
    return {
        **scope,
        "method": "GET" if method == "HEAD" else method,
        "path": path.rstrip("/") or "/",
    }
