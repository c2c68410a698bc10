"""The end of a gateway: it gives notice, is left by its callers, and only then stops listening.

uvicorn stops listening the moment it gets SIGTERM, so that nobody could learn it from
`/health/ready`, and what a load balancer sends before it looks again would be refused. Here the
signal begins a time of notice: readiness says 503, and every answer closes its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

logger = logging.getLogger("personadual.gateway")


class Ending:
    """Whether this gateway is about to end; `notice_s` is how long it stays reachable then."""

    def __init__(self, notice_s: float) -> None:
        self._notice_s = notice_s
        self.has_begun = False

    @contextlib.contextmanager
    def by_signal(self) -> Iterator[None]:
        """Within the block SIGTERM gives notice before the server hears of it; a second one ends
        the notice."""
        server = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(server):
            yield
            return
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server(signal.SIGTERM, None)

        def begin() -> None:
            if self.has_begun or not self._notice_s:
                self.has_begun = True
                stop()
                return
            self.has_begun = True
            logger.warning("the gateway ends: it stays reachable for %g s", self._notice_s)
            loop.call_later(self._notice_s, stop)

        loop.add_signal_handler(signal.SIGTERM, begin)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, server)
