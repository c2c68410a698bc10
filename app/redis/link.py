"""The connection to Redis that personas, keys and limits share: one pool, one breaker, one ear.

Time-outs are tens of milliseconds and what timed out is not retried: a Redis that hangs must not
hang answers. After a failure the store is left alone for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, ResponseError

from app.cache import Listener
from app.redis.refusals import Refusals
from model.errors import StartFailed, StoreUnavailable

logger = logging.getLogger("personadual.store")

LISTEN_RETRY_S = 0.25
HEARTBEAT_S = 0.5


def _pool(url: str, timeout_s: float) -> BlockingConnectionPool:
    try:
        # Blocking: a burst of lookups waits for a connection instead of failing for want of one.
        return BlockingConnectionPool.from_url(
            url,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A connection that was reset while it lay idle shows it only when it is used: a second
            # try opens a new one. What hangs is no ConnectionError.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            max_connections=64,
        )
    except ValueError:
        # What it says may be a part of the password, and so may what a traceback shows.
        raise StartFailed(
            "PERSONADUAL_REDIS_URL is not a Redis URL (redis://, rediss:// or unix://); in a"
            " password # / ? @ : and % are written %23 %2F %3F %40 %3A and %25"
        ) from None


class RedisLink:
    """A bounded connection to the Redis at `url`; calls go through `redis`, inside `guarded`.

    Raises:
        StartFailed: `url` is no URL of a Redis.
    """

    def __init__(self, url: str, *, timeout_s: float, retry_s: float) -> None:
        self.redis: Redis = Redis.from_pool(_pool(url, timeout_s))
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
        if time.monotonic() < self._away_until:
            raise StoreUnavailable("the store does not answer")
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                yield
        except ResponseError as error:
            # An answer, if a refusal (a full memory, a replica): no reason to leave it alone.
            self._refusals.note(error)
            raise StoreUnavailable("the store refuses the command") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + self._retry_s
            if not self._is_away:
                self._is_away = True
                logger.warning("the store does not answer: %s", type(error).__name__)
            raise StoreUnavailable("the store does not answer") from error
        self._refusals.note_answer()
        if self._is_away:
            self._is_away = False
            logger.warning("the store answers again")

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
