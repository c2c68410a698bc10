"""Callers that leave: their work is dropped, and what it held is given back.

Frameworks never cancel a handler whose answer is not streamed, and watch a streamed one with a
group of tasks, which costs more than the answer of a fast engine. Here a watch begins only when
the work has taken a while: before that there is nothing to save.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import to_http
from model.errors import ClientGone, GatewayEnding, PersonaDualError

logger = logging.getLogger("personadual.gateway")
T = TypeVar("T")
WATCH_AFTER_S = 0.1
"""Shorter work is done before anybody could notice that its caller has left."""
EVENTS = "text/event-stream"
COMMENT = b": keep-alive\n\n"


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and drop it when the caller leaves.

    The body has been read, so the caller's next message is its farewell.

    Raises:
        ClientGone: the caller left first.
    """
    worker = asyncio.current_task()
    assert worker is not None
    watch: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal watch
        watch = asyncio.ensure_future(_cancel_when_gone(receive, worker))

    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watch is not None and watch.done() and worker.uncancel() == 0:
            raise ClientGone("the caller left") from None
        raise
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()


class EventStream(Response):
    """Server-sent events (or another stream of bytes), sent until they end or their reader leaves.

    What they break off with is their final event.

    `keep_alive_s`: silence after which a comment is sent, which every reader of events skips and
    which keeps proxies from closing the connection; 0 sends none.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        keep_alive_s: float = 0.0,
        media_type: str = EVENTS,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._keep_alive_s = keep_alive_s
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            with suppress(ClientGone):  # nobody is left to be told; what it held is closed
                await unless_gone(receive, self._send(start, send))
        except (asyncio.CancelledError, Exception) as error:
            # The edge: after the first byte no handler is left. Another stream just breaks off.
            if self.media_type != EVENTS:
                raise
            told = _told(error)
            scope["state"]["course"].error = told
            await send({"type": "http.response.body", "body": to_http(told).to_event()})

    async def _send(self, start: dict[str, Any], send: Send) -> None:
        async with aclosing(self._events) as events, self._kept_alive(send):
            await send(start)
            async for event in events:
                self._sent_at = time.monotonic()
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def _kept_alive(self, send: Send) -> AsyncIterator[None]:
        if not self._keep_alive_s:
            yield
            return
        self._sent_at = time.monotonic()
        commenting = asyncio.create_task(self._comment(send))
        try:
            yield
        finally:
            commenting.cancel()
            await asyncio.gather(commenting, return_exceptions=True)

    async def _comment(self, send: Send) -> None:
        while True:
            silent_s = time.monotonic() - self._sent_at
            if silent_s >= self._keep_alive_s:
                self._sent_at, silent_s = time.monotonic(), 0.0
                await send({"type": "http.response.body", "body": COMMENT, "more_body": True})
            await asyncio.sleep(self._keep_alive_s - silent_s)


def _told(error: BaseException) -> PersonaDualError:
    """What the reader of a stream is told of what it ended with."""
    if isinstance(error, PersonaDualError):
        return error
    if isinstance(error, asyncio.CancelledError):  # the server's end: its time is over
        return GatewayEnding("the gateway ended before the answer did")
    logger.error("a stream failed", exc_info=error)
    return PersonaDualError(type(error).__name__)


async def _cancel_when_gone(receive: Receive, worker: asyncio.Task[Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    worker.cancel()
