"""What the gateway costs: against the engine asked directly, and against a bare pass-through.

    python -m benchmarks.gateway [--seconds 14]

Three servers, a process each, all on loopback and in the same run: an engine that answers at
once, a bare FastAPI + aiohttp pass-through to it, and the gateway with everything on (a persona
from Redis, the decision, metrics). Rounds alternate between the servers, so that a noisy machine
is noisy for all; the table shows medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
import orjson

from benchmarks.servers import Server, own_redis, serve

ENGINE, GATEWAY = "benchmarks.instant:create", "app.main:gateway"
CHAT = "/v1/chat/completions"
ASK = {
    "model": "pocket",
    "user": "ada",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 20},
        {"role": "user", "content": "What should I cook tonight? " * 8},
    ],
}
ROUNDS = 7
Load = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


async def unary(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url + CHAT, data=orjson.dumps(ASK)) as response:
        assert response.status == 200, await response.text()
        await response.read()


async def stream(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url + CHAT, data=orjson.dumps({**ASK, "stream": True})) as response:
        assert response.status == 200, await response.text()
        assert b"[DONE]" in await response.read()


async def first_byte_ms(session: aiohttp.ClientSession, url: str) -> float:
    begun = time.perf_counter()
    async with session.post(url + CHAT, data=orjson.dumps({**ASK, "stream": True})) as response:
        await response.content.readany()
        taken = time.perf_counter() - begun
        await response.read()
    return taken * 1000


async def rate(load: Load, url: str, clients: int, seconds: float) -> float:
    """Answers per second with so many clients at once."""
    end = time.perf_counter() + seconds
    done = 0

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await load(session, url)
                done += 1

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return done / (time.perf_counter() - begun)


async def median_first_byte_ms(urls: dict[str, str], count: int) -> dict[str, float]:
    """One client, the servers in turn."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            for name, url in urls.items():
                times[name].append(await first_byte_ms(session, url))
    return {name: statistics.median(values) for name, values in times.items()}


async def medians(
    load: Load, urls: dict[str, str], clients: int, seconds: float
) -> dict[str, float]:
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            rates[name].append(await rate(load, url, clients, seconds / ROUNDS))
    return {name: statistics.median(values) for name, values in rates.items()}


async def warm(session: aiohttp.ClientSession, url: str, count: int) -> None:
    for _ in range(count):
        await unary(session, url)
        await stream(session, url)


async def prepare(session: aiohttp.ClientSession, gateway: Server, count: int) -> None:
    """Wait for a gateway, and give it a persona and so many requests of each kind."""
    await gateway.wait_up("/health/ready")
    persona = {"text": "Ada is vegan and cooks for two. " * 10}
    await session.put(f"{gateway.url}/v1/personas/ada", json=persona)
    await warm(session, gateway.url, count)


async def measure(seconds: float) -> None:
    with (
        own_redis() as redis_url,
        serve(ENGINE) as engine,
        serve("benchmarks.passthrough:create", {"UPSTREAM": engine.url}) as bare,
        serve(
            GATEWAY, {"PERSONADUAL_ENGINE_URL": engine.url, "PERSONADUAL_REDIS_URL": redis_url}
        ) as gateway,
    ):
        await engine.wait_up("/health")
        await bare.wait_up("/health")
        async with aiohttp.ClientSession() as session:
            await prepare(session, gateway, 50)
            for server in (engine, bare):
                await warm(session, server.url, 50)
        urls = {"direct": engine.url, "pass-through": bare.url, "gateway": gateway.url}
        show(
            await median_first_byte_ms(urls, 300),
            await medians(unary, urls, 32, seconds),
            await medians(stream, urls, 16, seconds),
            gateway.resident_mb(),
        )


def show(
    first: dict[str, float], whole: dict[str, float], streams: dict[str, float], resident_mb: float
) -> None:
    print(f"{'':24}{'direct':>12}{'pass-through':>14}{'gateway':>12}{'gateway is':>26}")
    added = first["gateway"] - first["direct"]
    rows = (
        ("first byte, ms", first, f"+{added:.2f} ms over direct"),
        ("unary/s, 32 clients", whole, f"{share(whole):.0%} of pass-through"),
        ("streams/s, 16 clients", streams, f"{share(streams):.0%} of pass-through"),
    )
    for name, values, verdict in rows:
        numbers = f"{values['direct']:12.2f}{values['pass-through']:14.2f}{values['gateway']:12.2f}"
        print(f"{name:24}{numbers}{verdict:>26}")
    print(f"gateway process, resident: {resident_mb:.0f} MB")


def share(values: dict[str, float]) -> float:
    return values["gateway"] / values["pass-through"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=14.0, help="per server and load")
    asyncio.run(measure(parser.parse_args().seconds))
