"""The link to Redis: what is our own business is not taken for an outage of Redis."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest
import uvloop
from redis import Redis

from app.redis.link import SLOT_WAIT_S, SLOTS, RedisLink
from model.errors import StoreUnavailable
from tests.conftest import RedisServer

LIMIT_S = 0.08
HELD_S = 0.15


def link_to(server: RedisServer, limit_s: float = LIMIT_S) -> RedisLink:
    return RedisLink(server.url, timeout_s=limit_s, retry_s=5.0)


async def get(link: RedisLink) -> object:
    async with link.guarded():
        return await link.redis.get("x")


@pytest.mark.parametrize("is_warm", [True, False], ids=["open connection", "new connection"])
@pytest.mark.parametrize("loop", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def test_a_loop_that_is_held_is_no_silence_of_redis(
    redis_server: RedisServer, redis: Redis, loop: object, is_warm: bool
) -> None:
    """Whatever step of a call is under way when our own work holds the loop for longer than it may
    take, once or again and again: the answer is read, and nothing is left alone."""
    redis.set("x", "here")

    async def hold_after(steps: int) -> bool:
        """Whether the call was still under way."""
        link = link_to(redis_server)
        if is_warm:
            await link.ping()
        asking = asyncio.create_task(get(link))
        for _ in range(steps):
            await asyncio.sleep(0)
        is_amid = not asking.done()
        for _ in range(1 + steps % 3):
            time.sleep(HELD_S)  # noqa: ASYNC251 - what is tested
            await asyncio.sleep(0)
        assert await asking == b"here"
        await link.close()
        return is_amid

    async def main() -> None:
        steps = 0
        while await hold_after(steps):
            steps += 1
        assert steps > 1, "it was held amid the call at least once"

    assert callable(loop)
    loop(main())


async def test_a_burst_waits_for_slots(redis_server: RedisServer, redis: Redis) -> None:
    """Many times more calls at once than may be under way, and than fit into a call's limit."""
    redis.set("x", "here")
    link = link_to(redis_server)
    await link.ping()
    assert await asyncio.gather(*[get(link) for _ in range(3000)]) == [b"here"] * 3000
    await link.close()


async def test_a_wait_for_a_slot_in_vain_leaves_nothing_alone(redis_server: RedisServer) -> None:
    link = link_to(redis_server, limit_s=10)
    is_over = asyncio.Event()

    async def hold() -> None:
        async with link.guarded():
            await is_over.wait()

    holding = [asyncio.create_task(hold()) for _ in range(SLOTS)]
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="too many"):
        await get(link)
    assert SLOT_WAIT_S - 0.1 < time.monotonic() - begun < SLOT_WAIT_S + 2
    is_over.set()
    await asyncio.gather(*holding)
    await get(link)
    await link.close()


async def test_a_redis_that_hangs_is_left_alone(redis_server: RedisServer) -> None:
    """Those under way wait for the limit, those behind them for a slot no longer than that."""
    link = link_to(redis_server)
    await link.ping()
    redis_server.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answers = await asyncio.gather(*[get(link) for _ in range(500)], return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert LIMIT_S <= time.monotonic() - begun < 1.5
        begun = time.monotonic()
        with contextlib.suppress(StoreUnavailable):
            await get(link)
        assert time.monotonic() - begun < LIMIT_S / 2, "left alone for a moment"
    finally:
        redis_server.signal(signal.SIGCONT)
    await link.close()
