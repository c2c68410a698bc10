"""The connection to Redis that personas, keys and limits share: one pool, one breaker, one ear.

Time-outs are tens of milliseconds and what timed out is not retried: a Redis that hangs must not
hang answers. After a failure of Redis the store is left alone for a moment; that we ourselves are
busy is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, ResponseError

from app.cache import Listener
from app.redis.deadline import MOST_HELD_S, Deadline
from app.redis.refusals import Refusals
from model.errors import StartFailed, StoreUnavailable

logger = logging.getLogger("personadual.store")

LISTEN_RETRY_S = 0.25
HEARTBEAT_S = 0.5
SLOTS = 64
"""Calls that are under way at once; in a burst the others wait."""
SLOT_WAIT_S = 2.0


class _Pool(ConnectionPool):
    @property
    def is_warm(self) -> bool:
        """Whether the next call finds a connection that is open."""
        return bool(self._available_connections) and self._available_connections[-1].is_connected


def _pool(url: str, timeout_s: float) -> _Pool:
    try:
        return _Pool.from_url(
            url,
            # Calls are bounded by a `Deadline`: redis-py's own time-outs count time in which our
            # loop is held. This one bounds what no call waits for, such as closing.
            socket_timeout=None,
            socket_connect_timeout=2 * timeout_s + MOST_HELD_S,
            # A connection that was reset while it lay idle shows it only when it is used: a second
            # try opens a new one. What hangs is no ConnectionError.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            max_connections=SLOTS + 1,  # the ear's
        )
    except ValueError:
        # What it says may be a part of the password, and so may what a traceback shows.
        raise StartFailed(
            "PERSONADUAL_REDIS_URL is not a Redis URL (redis://, rediss:// or unix://); in a"
            " password # / ? @ : and % are written %23 %2F %3F %40 %3A and %25"
        ) from None


def check_url(url: str) -> None:
    """Raises StartFailed: `url` is no URL of a Redis. Nothing is connected."""
    _pool(url, timeout_s=1.0)


class RedisLink:
    """A bounded connection to the Redis at `url`; calls go through `redis`, inside `guarded`.

    Raises:
        StartFailed: `url` is no URL of a Redis.
    """

    def __init__(self, url: str, *, timeout_s: float, retry_s: float) -> None:
        self._pool = _pool(url, timeout_s)
        self.redis: Redis = Redis.from_pool(self._pool)
        self._slots = asyncio.Semaphore(SLOTS)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._away_until = 0.0
        self._is_away = False
        self._refusals = Refusals()
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Bound the call, and leave a store that has failed alone for a moment.

        Raises:
            StoreUnavailable: it does not answer, or refuses the command.
        """
        self._leave_alone()
        async with self._slot():
            self._leave_alone()
            # What opens a connection has the time of another round trip.
            deadline = Deadline(self._timeout_s * (1 if self._pool.is_warm else 2))
            try:
                async with deadline:
                    yield
            except ResponseError as error:
                # An answer, if a refusal (a full memory, a replica): no reason to leave it alone.
                self._refusals.note(error)
                raise StoreUnavailable("the store refuses the command") from error
            except (RedisError, OSError, TimeoutError) as error:
                if deadline.is_ours:
                    raise StoreUnavailable("the gateway is too busy to ask the store") from error
                self._note_failure(error)
                raise StoreUnavailable("the store does not answer") from error
        self._refusals.note_answer()
        if self._is_away:
            self._is_away = False
            logger.warning("the store answers again")

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the calls under way. To wait for it in vain says nothing of the store."""
        try:
            async with asyncio.timeout(SLOT_WAIT_S):
                await self._slots.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("too many requests ask the store at once") from error
        try:
            yield
        finally:
            self._slots.release()

    def _leave_alone(self) -> None:
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("the store does not answer")

    def _note_failure(self, error: Exception) -> None:
        self._away_until = time.monotonic() + self._retry_s
        if not self._is_away:
            self._is_away = True
            logger.warning("the store does not answer: %s", type(error).__name__)

    async def ping(self) -> None:
        async with self.guarded():
            await self.redis.ping()

    async def listen(self, listeners: Mapping[str, Listener[str]]) -> None:
        """Relay channels to their listeners until the link is closed."""
        # redis-py's timed read now and then swallows a cancellation (seen on CPython 3.11: the
        # task stays "cancelling" and reads on), so the end is a flag and not an exception.
        while not self._is_closed:
            try:
                async with self.redis.pubsub() as channel:
                    async with Deadline(2 * self._timeout_s):
                        await channel.subscribe(*listeners)
                    await self._relay(channel, listeners)
            except (RedisError, OSError, TimeoutError):
                for listener in listeners.values():
                    listener.hears(False)
                await asyncio.sleep(LISTEN_RETRY_S)

    async def close(self) -> None:
        self._is_closed = True
        await self.redis.aclose()

    async def _relay(self, channel: PubSub, listeners: Mapping[str, Listener[str]]) -> None:
        is_pinged = False
        while not self._is_closed:
            message = await channel.get_message(timeout=HEARTBEAT_S)
            if message is None:
                # Silence may be peace or a dead peer: an answer to a ping tells.
                if is_pinged:
                    raise TimeoutError
                await channel.ping()
                is_pinged = True
                continue
            is_pinged = False
            if message["type"] == "subscribe":
                listeners[message["channel"].decode()].hears(True)
            elif message["type"] == "message":
                text = message["data"].decode(errors="replace")
                listeners[message["channel"].decode()].forget(text)
