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
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

import aiohttp

from app.serve.preflight import redis_binary
from benchmarks.gateway import Load, Server, stream, unary, wait_up
from benchmarks.shadow import paced

CLIENTS = 8
REQUESTS = 300


async def cpu_us(load: Load, gateway: Server) -> float:
    """Processor microseconds that a request takes."""
    left = iter(range(REQUESTS))
    async with aiohttp.ClientSession() as session:

        async def client() -> None:
            for _ in left:
                await load(session, gateway.url)

        begun = gateway.cpu_s()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return (gateway.cpu_s() - begun) / REQUESTS * 1e6


async def compare(load: Load, gateways: dict[str, Server], rounds: int) -> None:
    costs: dict[str, list[float]] = {name: [] for name in gateways}
    order = list(gateways)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            costs[name].append(await cpu_us(load, gateways[name]))
    first = costs[next(iter(gateways))]
    times = await paced(load, {name: server.url for name, server in gateways.items()}, 300)
    for name, values in costs.items():
        ratios = [b / a for a, b in zip(first, values, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"  {name:10} {statistics.median(values):7.0f} us of processor"
            f"   x {middle:.3f} ({low:.3f} to {high:.3f})"
            f"   one client {statistics.median(times[name]):6.2f} ms"
        )


async def measure(rounds: int, before: Path | None) -> None:
    socket = f"{tempfile.mkdtemp()}/redis.sock"
    redis = subprocess.Popen(
        [redis_binary(), "--port", "0", "--unixsocket", socket, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    engine, collector = Server("instant:create", {}), Server("instant:create", {})
    own = {
        "PERSONADUAL_ENGINE_URL": engine.url,
        "PERSONADUAL_REDIS_URL": f"unix://{socket}",
        "PERSONADUAL_REDIS_TIMEOUT_MS": "2000",
    }
    on = {**own, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    tenth = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    gateways = {"before": Server("app.main:gateway", own, before)} if before else {}
    gateways |= {
        "off": Server("app.main:gateway", own),
        "on, 10 %": Server("app.main:gateway", {**on, **tenth}),
        "on": Server("app.main:gateway", on),
    }
    try:
        async with aiohttp.ClientSession() as session:
            for gateway in gateways.values():
                await wait_up(gateway.url, "/health/ready")
                persona = {"text": "Ada is vegan and cooks for two. " * 10}
                await session.put(f"{gateway.url}/v1/personas/ada", json=persona)
                for _ in range(100):
                    await unary(session, gateway.url)
                    await stream(session, gateway.url)
        for name, load in (("whole answer", unary), ("stream of 100 tokens", stream)):
            print(name)
            await compare(load, gateways, rounds)
        for name, gateway in gateways.items():
            print(f"{name}: {gateway.resident_mb():.0f} MB resident")
    finally:
        processes = [server.process for server in (*gateways.values(), engine, collector)]
        for process in (*processes, redis):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    options = parser.parse_args()
    asyncio.run(measure(options.rounds, options.before))
