"""What is held for requests: counted before a fault and after it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections import Counter
from collections.abc import Iterator

import aiohttp

from app.chat.plan import Plan
from app.chat.stream import StreamReader
from app.http.edge import _Exchange
from testbed.fake_engine import FakeEngine
from testbed.http import call, chat
from tests.conftest import Gateway, wait_until

LIMIT_S = 8.0  # an idle connection to the engine is kept for four
FOR_GOOD = {"Server.serve", "LifespanOn.main", "RedisStore.listen", "Quota.keep", "Readiness.watch"}
"""Tasks that live as long as the gateway."""
OF_A_REQUEST = {_Exchange, Plan, StreamReader, aiohttp.ClientResponse}
"""Objects that live as long as their request: bytes that stay behind hang on one of these."""


@contextlib.contextmanager
def nothing_stays(gateway: Gateway, fake: FakeEngine) -> Iterator[None]:
    """A few seconds after the block no task, engine request, open file or object of it is left.

    Open files are those of this process: the gateway's, the fake engine's and the test's sockets
    alike. Connections that are kept for the next request are opened before they are counted.
    """
    assert chat(gateway.url, stream=True, user="warm").status in (200, 401)
    call(gateway.url, "/health/ready")  # asks the engine twice at once
    wait_until(lambda: not held(gateway, fake))
    files = open_files()
    gc.freeze()  # what is there already need not be looked through
    yield
    deadline = time.monotonic() + LIMIT_S
    while more := held(gateway, fake) + Counter(files=max(0, open_files() - files)):
        assert time.monotonic() < deadline, f"stays behind: {dict(more)}"
        time.sleep(0.05)
    wait_until(lambda: not objects(), 2.0)
    gc.unfreeze()


def held(gateway: Gateway, fake: FakeEngine) -> Counter[str]:
    """Tasks of the gateway for requests, and requests that the engine runs."""
    names = asyncio.run_coroutine_threadsafe(_tasks(), gateway.loop).result(10)
    return Counter(name for name in names if name not in FOR_GOOD) + Counter(running=fake.running)


async def _tasks() -> list[str]:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return [getattr(task.get_coro(), "__qualname__", "?") for task in others]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def objects() -> list[object]:
    gc.collect()
    return [found for found in gc.get_objects() if type(found) in OF_A_REQUEST]
