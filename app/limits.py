"""Limits at the edge: body size, requests in flight. Pure ASGI, no wrapping.

Starlette's `BaseHTTPMiddleware` costs 75 us a streamed chunk and hides disconnects, so this is
one plain ASGI class.
"""

from __future__ import annotations

import logging
import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.chat import Stopwatch
from app.errors import to_http
from app.jsonl import IMPORT_PATH
from app.metrics import Metrics, PersonaWrite, Rejection, Route
from app.quota import Lease
from model.errors import PersonaDualError, TooLarge

logger = logging.getLogger("personadual.gateway")

_CLEAN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# A caller that is refused in the middle of its upload reads the answer only after it has sent
# all; beyond this many times the limit of a plain body it is cut off.
DRAIN_FACTOR = 4
BYTES_PER_TOKEN = 4
NOT_ANSWERED = 499
"""What counts for a caller who left before an answer began."""

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
    """Gives every request an id and a stopwatch, bounds its body, counts it."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, max_body_bytes: int, max_import_bytes: int
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._max_import_bytes = max_import_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = Stopwatch()
        state = scope.setdefault("state", {})
        state["watch"] = watch
        scope = _as_routed(scope)
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        route = route_of(scope["path"])
        status = NOT_ANSWERED

        async def end_lease(tokens: int) -> None:
            lease: Lease | None = state.pop("lease", None)
            if lease is not None:
                await lease.end(tokens)

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own_s = watch.own_s
                self._time(route, own_s)
                overhead_ms = f"{own_s * 1000:.2f}".encode()
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id),
                    (b"x-personadual-overhead-ms", overhead_ms),
                    *state.get("ratelimit", ()),
                ]
            elif not message.get("more_body") and status != NOT_ANSWERED:
                # Before the last byte is out: who has it may come back at once.
                await end_lease(watch.tokens or watch.streamed)
            await send(message)

        is_import = scope["path"] == IMPORT_PATH
        max_bytes = self._max_import_bytes if is_import else self._max_body_bytes
        body = _Body(receive, max_bytes, DRAIN_FACTOR * self._max_body_bytes)
        with self._metrics.inflight.track_inprogress():
            try:
                if int(headers.get(b"content-length") or 0) > max_bytes:
                    await self._refuse(body, scope, send_counted)
                else:
                    await self._app(scope, body.receive, send_counted)
            except Exception as error:  # the edge of the process: nothing is behind it
                logger.exception("a request failed")
                if status == NOT_ANSWERED:
                    failure = to_http(PersonaDualError(type(error).__name__))
                    await failure.to_response()(scope, body.receive, send_counted)
            finally:
                # Still there where the caller left: what it was sent, and a guess at its prompt.
                await end_lease(watch.streamed + body.seen_bytes // BYTES_PER_TOKEN)
                self._count(route, status, scope["method"])

    def _time(self, route: Route, own_s: float) -> None:
        if route is Route.CHAT:
            self._metrics.overhead_seconds.observe(own_s)

    def _count(self, route: Route, status: int, method: str) -> None:
        self._metrics.requests(route, str(status)).inc()
        if route is Route.PERSONAS and status < 400 and method in _WRITES:
            self._metrics.persona_writes(_WRITES[method]).inc()

    async def _refuse(self, body: _Body, scope: Scope, send: Send) -> None:
        await body.drain()
        self._metrics.rejected(Rejection.TOO_LARGE).inc()
        await to_http(body.too_large()).to_response()(scope, body.receive, send)


class _Body:
    """Bounds a body that does not say its length before it comes."""

    def __init__(self, receive: Receive, max_bytes: int, drain_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._drain_bytes = drain_bytes
        self.seen_bytes = 0
        self._is_over = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._is_over:
            self.seen_bytes += len(message.get("body", b""))
            self._is_over = not message.get("more_body", False)
            if self.seen_bytes > self._max_bytes:
                await self.drain()
                raise self.too_large()
        return message

    async def drain(self) -> None:
        """Read on and throw away, so that the caller gets to read the refusal."""
        until_bytes = self.seen_bytes + self._drain_bytes
        while not self._is_over and self.seen_bytes <= until_bytes:
            message = await self._receive()
            self.seen_bytes += len(message.get("body", b""))
            self._is_over = not message.get("more_body", False)

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


def _request_id(given: bytes | None) -> bytes:
    if given is not None and _CLEAN_ID.fullmatch(given):
        return given
    return b"req-%024x" % random.getrandbits(96)
