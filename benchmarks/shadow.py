"""What shadows cost the answers that they follow.

    python -m benchmarks.shadow [--seconds 14]

Three gateways, a process each, over one engine that answers at once: without shadows, with one
for 5 % of all answers and with one for every answer. Each shadow asks the engine twice, because
the answers are sampled. Requests alternate between the gateways, with a pause in which a shadow
ends; then each is loaded with more requests at once than shadows bear.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import time

import aiohttp

from benchmarks.gateway import ENGINE, GATEWAY, Load, medians, prepare, stream, unary
from benchmarks.servers import own_redis, serve

RATES = {"none": "0", "5 %": "0.05", "all": "1"}
PAUSE_S = 0.01
CLIENTS = 32


async def paced(load: Load, urls: dict[str, str], count: int) -> dict[str, list[float]]:
    """Milliseconds of each request, one client, the gateways in turn, in any order."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    order = list(urls)
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            random.shuffle(order)  # whoever comes first has the caches cold
            for name in order:
                begun = time.perf_counter()
                await load(session, urls[name])
                times[name].append((time.perf_counter() - begun) * 1000)
                await asyncio.sleep(PAUSE_S)
    return times


def over_none(times: dict[str, list[float]]) -> dict[str, float]:
    """The median difference to the same round's request without shadows."""
    return {
        rate: statistics.median(b - a for a, b in zip(times["none"], values, strict=True))
        for rate, values in times.items()
    }


def row(name: str, values: dict[str, float], unit: str) -> None:
    print(f"{name:44}" + "".join(f"{values[rate]:12.2f}" for rate in RATES) + f"  {unit}")


async def outcomes(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if line.startswith("personadual_shadow_"))
    return ", ".join(
        f"{int(float(count))} {name.split(chr(34))[1]}"
        for name, count in counts.items()
        if float(count)
    )


async def measure(seconds: float) -> None:
    with own_redis() as redis_url, serve(ENGINE) as engine, contextlib.ExitStack() as end:
        own = {
            "PERSONADUAL_ENGINE_URL": engine.url,
            "PERSONADUAL_REDIS_URL": redis_url,
            "PERSONADUAL_REDIS_TIMEOUT_MS": "2000",
        }
        gateways = {
            name: end.enter_context(serve(GATEWAY, {**own, "PERSONADUAL_SHADOW_RATE": rate}))
            for name, rate in RATES.items()
        }
        urls = {name: gateway.url for name, gateway in gateways.items()}
        async with aiohttp.ClientSession() as session:
            for gateway in gateways.values():
                await prepare(session, gateway, 50)
            print(f"{'shadows of':44}" + "".join(f"{name:>12}" for name in RATES))
            for name, load in (("whole answer", unary), ("stream", stream)):
                times = await paced(load, urls, int(seconds / 0.02))
                middle = {rate: statistics.median(values) for rate, values in times.items()}
                row(f"{name} to its end, one client", middle, "ms")
                row("  over the same round without shadows", over_none(times), "ms")
            row(f"{CLIENTS} clients", await medians(unary, urls, CLIENTS, seconds), "answers/s")
            row("resident", {rate: gateways[rate].resident_mb() for rate in RATES}, "MB")
            for name, url in urls.items():
                print(f"{name}: {await outcomes(session, url)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=14.0, help="per gateway and load")
    asyncio.run(measure(parser.parse_args().seconds))
