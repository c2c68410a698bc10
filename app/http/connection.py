"""A caller's connection, bounded: how much a head may hold, how slowly a request may come, and
how long an answer may wait to be read.

uvicorn's own protocol bounds only the silence between two requests. Before a request is whole no
handler and no middleware sees it, so what holds a caller that sends a byte a second, or headers
without end, stands here; so does what frees the engine, and all buffers, of one that does not
read, for only a reset does. The server is told by `--http app.http.connection:Connection`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import JSON, HttpError
from app.http import request_ids

logger = logging.getLogger("personadual.gateway")

SPARE_FILES = 128
"""Open files that no connection gets: listeners, Redis, logs, modules."""
FEW_CONNECTIONS = 1_000
RESET = struct.pack("ii", 1, 0)
HEADER_COST = 32
"""Bytes that a header counts beside its own, as in HTTP/2: short ones cost memory too."""
INVALID = HttpError(400, "this is not an HTTP request", "invalid_request_error", "invalid_http")
HEAD_TOO_LARGE = HttpError(
    431, "the request's line and headers are too large", "invalid_request_error", "head_too_large"
)
TOO_SLOW = HttpError(408, "the request came too slowly", "invalid_request_error", "too_slow")
FULL = HttpError(
    503, "the gateway holds all the connections it can", "service_unavailable_error", "full"
)


class Connection(HttpToolsProtocol):
    """Drops a caller whose request does not come on, or who does not read; refuses heads that are
    too large.

    A request that has begun, and the first one of a connection, bring `bytes_per_s` on average of
    every `window_s`, or are whole before it ends. While it waits for the gateway, which
    reads no further or still answers the one before, nothing is asked of the caller. The buffers
    to a caller may be full for `unread_s` at once.
    """

    max_head_bytes = 65_536
    window_s = 10.0
    bytes_per_s = 1_000
    unread_s = 60.0

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head_bytes = 0
        self._head_read_bytes = 0
        self._is_head_open = False
        self._is_arriving = False
        self._arrived_bytes = 0
        self._is_begun = False
        self._look: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > fitting_connections():
            self._refuse(FULL)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._end_wait()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.unread_s, self._drop)

    def resume_writing(self) -> None:
        self._end_wait()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        self._arrived_bytes += len(data)
        self._is_begun = True
        was_open = self._is_head_open
        super().data_received(data)
        if not self._is_arriving or self.transport.is_closing():
            self._unwatch()
            return
        if was_open and self._is_head_open:
            # A line without end is handed on by the parser at its end, which never comes.
            self._head_read_bytes += len(data)
            if self._head_read_bytes > self.max_head_bytes:
                self._refuse(HEAD_TOO_LARGE)
                return
        if self._look is None:
            self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_arriving = self._is_head_open = True
        self._head_bytes = self._head_read_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Also what comes after a chunked body.
        self._count_head(len(name) + len(value) + HEADER_COST)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_head_open = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_arriving = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HEAD_TOO_LARGE if self._head_bytes > self.max_head_bytes else INVALID)

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: some clients offer HTTP/2 with each request, and are answered in HTTP/1."""

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.max_head_bytes:
            raise ValueError("the head is too large")  # the parser stops; `send_400_response` tells

    def _watch(self) -> None:
        self._arrived_bytes = 0
        self._look = self.loop.call_later(self.window_s, self._judge)

    def _unwatch(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _end_wait(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _drop(self) -> None:
        logger.warning("a caller read nothing of its answer for %g s", self.unread_s)
        # Closed any other way, what it has not read would wait for it: here, or in the kernel.
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def _judge(self) -> None:
        """A window is over, and the request is not whole."""
        is_ours = self.flow.read_paused or self.pipeline
        if is_ours or self._arrived_bytes >= self.bytes_per_s * self.window_s:
            self._watch()
        elif self._is_begun:
            self._refuse(TOO_SLOW)
        else:
            self.transport.close()  # it said nothing, and would take an answer for one to its first

    def _refuse(self, error: HttpError) -> None:
        """Say why, where that cannot land within another answer, and close."""
        is_amid_answer = (
            self.cycle is not None
            and self.cycle.response_started
            and not self.cycle.response_complete
        )
        if not is_amid_answer and not self.transport.is_closing():
            body = error.to_json()
            headers = {
                "content-type": JSON,
                "content-length": str(len(body)),
                "connection": "close",
                request_ids.HEADER.decode(): self._request_id().decode(),
                **error.headers(),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], head.encode(), body))
        self.transport.close()

    def _request_id(self) -> bytes:
        """The id that the request has already, if one was read so far."""
        if not self._is_arriving:
            return request_ids.id_for(None)
        known: bytes | None = self.scope["state"].get(request_ids.STATE)
        return known or request_ids.id_for(dict(self.headers).get(request_ids.HEADER))


def fitting_connections() -> int:
    """How many connections the limit of open files lets a process hold: each may need another to
    the engine."""
    files, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (files - SPARE_FILES) // 2)


def take_all_files() -> None:
    """Raise this process's limit of open files as far as it may, and say where that is little."""
    _files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if fitting_connections() < FEW_CONNECTIONS:
        logger.warning(
            "the limit of %d open files leaves room for %d connections; raise it (ulimit -Hn)",
            most,
            fitting_connections(),
        )
