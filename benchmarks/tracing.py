"""What tracing costs a request: off, on, and sampled; with `--before`, against another checkout.

    python -m benchmarks.tracing [--rounds 20] [--before /path/to/checkout]

A gateway each, a process each, over one engine that answers at once; spans go to a collector that
takes all. In each round every gateway is asked the same number of requests, in a random order: the
table has the median over the rounds of processor time per request, and of its ratio to the first
gateway's in the same round (and the middle half of these), which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
from pathlib import Path

import aiohttp

from benchmarks.gateway import ENGINE, GATEWAY, Load, prepare, stream, unary
from benchmarks.servers import Server, own_redis, serve
from benchmarks.shadow import paced

CLIENTS = 8


async def cpu_us(load: Load, gateway: Server, requests: int) -> float:
    """Processor microseconds that a request takes."""
    left = iter(range(requests))
    async with aiohttp.ClientSession() as session:

        async def client() -> None:
            for _ in left:
                await load(session, gateway.url)

        begun = gateway.cpu_s()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return (gateway.cpu_s() - begun) / requests * 1e6


async def compare(load: Load, gateways: dict[str, Server], rounds: int, requests: int) -> None:
    costs: dict[str, list[float]] = {name: [] for name in gateways}
    order = list(gateways)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            costs[name].append(await cpu_us(load, gateways[name], requests))
    first = costs[next(iter(gateways))]
    times = await paced(load, {name: server.url for name, server in gateways.items()}, requests)
    for name, values in costs.items():
        ratios = [b / a for a, b in zip(first, values, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"  {name:10} {statistics.median(values):7.0f} us of processor"
            f"   x {middle:.3f} ({low:.3f} to {high:.3f})"
            f"   one client {statistics.median(times[name]):6.2f} ms"
        )


async def measure(rounds: int, requests: int, before: Path | None) -> None:
    with (
        own_redis() as redis_url,
        serve(ENGINE) as engine,
        serve(ENGINE) as collector,
        contextlib.ExitStack() as end,
    ):
        own = {
            "PERSONADUAL_ENGINE_URL": engine.url,
            "PERSONADUAL_REDIS_URL": redis_url,
            "PERSONADUAL_REDIS_TIMEOUT_MS": "2000",
        }
        on = {**own, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
        tenth = {**on, **sampler, "OTEL_TRACES_SAMPLER_ARG": "0.1"}
        gateways = {"before": end.enter_context(serve(GATEWAY, own, tree=before))} if before else {}
        for name, env in {"off": own, "on, 10 %": tenth, "on": on}.items():
            gateways[name] = end.enter_context(serve(GATEWAY, env))
        async with aiohttp.ClientSession() as session:
            for gateway in gateways.values():
                await prepare(session, gateway, 100)
        for name, load in (("whole answer", unary), ("stream of 100 tokens", stream)):
            print(name)
            await compare(load, gateways, rounds, requests)
        for name, gateway in gateways.items():
            print(f"{name}: {gateway.resident_mb():.0f} MB resident")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=300, help="in a round, and of one client")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.requests, options.before))
