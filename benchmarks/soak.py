"""The soak: mixed traffic for a long while, and everything has to be right at the end.

    python -m benchmarks.soak [--minutes 20] [--callers 24]

A gateway in a process of its own, over a real Redis and an engine that answers with what it was
sent (`benchmarks.echo`). Callers ask as fast as the machine allows: answers, streams, decisions,
persona writes, callers that leave, mistakes, a key beyond its limit, three tenants with the same
user ids. It fails if one reply is not what was asked for, if a tag shows, if the gateway's metrics
differ from the callers' own count by one, or if the gateway's memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from app.access.keys import Role, make_key
from app.access.quota import UNLIMITED, Limits
from app.redis.store import RedisStore
from app.serve.gateway import Listen, gateway_command
from app.serve.preflight import free_port
from benchmarks.servers import Server, own_folder, own_redis, running
from benchmarks.soak_ledger import Ledger, Sample, sample
from benchmarks.soak_traffic import Caller, Site

TENANTS = ("acme", "initech", "umbrella")
LIMITED_PER_MINUTE = 300
MAX_SLOPE_MB = 1.0  # in ten minutes
SLOPE_FROM_S = 600.0  # shorter runs have warm-up in them, and no slope
WARM_UP = 0.25  # of the time
SAMPLE_S = 1.0
COUNTED = (
    "requests_total",
    "mode_decisions_total",
    "mode_probability_count",
    "request_seconds_count",
    "first_token_seconds_count",
    "tokens_total",
    "rejected_total",
    "limit_checks_total",
    "untagged_replies_total",
)


@dataclass(frozen=True)
class Report:
    """What came of it. `memory` are pairs: seconds since the start, resident megabytes."""

    seconds: float
    ledger: Ledger
    scraped: dict[Sample, float]
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.ledger.kinds.values())

    @property
    def slope_mb(self) -> float:
        """Megabytes of growth in ten minutes, by least squares, after the warm-up."""
        return 600 * slope([point for point in self.memory if point[0] > WARM_UP * self.seconds])

    def faults(self) -> list[str]:
        """Empty where all is well."""
        found = [f"wrong: {what}" for what in self.ledger.wrong]
        if self.ledger.wrong_count > len(found):
            found.append(f"{self.ledger.wrong_count} wrong replies in all")
        if self.ledger.leaks:
            found.append(f"{self.ledger.leaks} replies show a tag")
        found += differences(self.ledger.counts, self.scraped)
        if self.seconds >= SLOPE_FROM_S and self.slope_mb > MAX_SLOPE_MB:
            found.append(f"memory grows by {self.slope_mb:.2f} MB in 10 minutes")
        return found


def differences(counted: Counter[Sample], scraped: dict[Sample, float]) -> list[str]:
    """Where the gateway counts otherwise than its callers."""
    names = {f"personadual_{name}" for name in COUNTED}
    ours = {key: float(value) for key, value in counted.items() if key[0] in names and value}
    theirs = {key: value for key, value in scraped.items() if key[0] in names and value}
    found = [
        f"{name}{dict(labels)}: {theirs.get((name, labels), 0):.0f}, callers"
        f" counted {ours.get((name, labels), 0):.0f}"
        for name, labels in sorted(ours.keys() | theirs.keys())
        if ours.get((name, labels), 0) != theirs.get((name, labels), 0)
        and not {("route", "health"), ("route", "metrics")} & set(labels)
    ]
    lookups = sum(
        scraped.get(sample("persona_lookups_total", outcome=outcome), 0.0)
        for outcome in ("cached", "found", "absent")
    )
    if lookups != counted[sample("lookups")]:
        found.append(f"persona lookups: {lookups:.0f}, asked {counted[sample('lookups')]}")
    if scraped.get(sample("inflight")) != 0:
        found.append(f"in flight: {scraped.get(sample('inflight'))}")
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


async def soak(seconds: float, callers: int) -> Report:
    """Run the traffic for so long.

    Raises:
        StartFailed: Redis, the engine or the gateway does not start.
    """
    ledger = Ledger()
    async with (
        _served() as (site, gateway),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        begun = time.perf_counter()
        memory: list[tuple[float, float]] = []

        async def call(number: int) -> None:
            caller = Caller(number, site, session, ledger)
            while time.perf_counter() - begun < seconds:
                await caller.act()

        async def weigh() -> None:
            while True:
                memory.append((time.perf_counter() - begun, gateway.resident_mb()))
                await asyncio.sleep(SAMPLE_S)

        weighing = asyncio.create_task(weigh())
        await asyncio.gather(*map(call, range(callers)))
        weighing.cancel()
        taken = time.perf_counter() - begun
        scraped = await _settled(session, site.url)
    return Report(taken, ledger, scraped, memory)


async def _settled(session: aiohttp.ClientSession, url: str) -> dict[Sample, float]:
    """The gateway's metrics, once what callers left behind is counted."""
    for _ in range(50):
        async with session.get(f"{url}/metrics") as response:
            text = await response.text()
        scraped = {
            (found.name, tuple(sorted(found.labels.items()))): found.value
            for family in text_string_to_metric_families(text)
            for found in family.samples
        }
        if scraped[sample("inflight")] == 0:
            break
        await asyncio.sleep(0.1)
    return scraped


@contextlib.asynccontextmanager
async def _served() -> AsyncIterator[tuple[Site, Server]]:
    engine_port, port = free_port(), free_port()
    engine_url, url = f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{port}"
    echo = [sys.executable, "-m", "benchmarks.echo", str(engine_port)]
    with own_redis() as redis_url, own_folder() as folder, own_folder() as logs:
        command, env = gateway_command(Listen("127.0.0.1", port, workers=1), folder)
        settings = {
            **env,
            "PERSONADUAL_ENGINE_URL": engine_url,
            "PERSONADUAL_REDIS_URL": redis_url,
            # What is measured is the gateway and not the moments at which this machine is busy.
            "PERSONADUAL_REDIS_TIMEOUT_MS": "5000",
            "PERSONADUAL_NOTICE_S": "0",
        }
        with (
            running("engine", echo, logs) as engine,
            running("gateway", command, logs, settings) as child,
        ):
            gateway = Server(url, child)
            await Server(engine_url, engine).wait_up("/health")
            await gateway.wait_up("/health/ready")
            keys = {tenant: await _new_key(redis_url, tenant) for tenant in TENANTS}
            limits = Limits(requests_per_minute=LIMITED_PER_MINUTE)
            limited = await _new_key(redis_url, TENANTS[0], limits)
            yield Site(url, keys, limited), gateway


async def _new_key(redis_url: str, tenant: str, limits: Limits = UNLIMITED) -> str:
    store = RedisStore(redis_url, timeout_s=5, retry_s=1)
    text, key = make_key("soak", tenant, (Role.CHAT, Role.PERSONAS), limits=limits)
    await store.keys.create(key)
    await store.close()
    return text


def show(report: Report) -> None:
    ledger = report.ledger
    print(f"{report.requests:,} requests in {report.seconds:.0f} s:", end=" ")
    print(f"{report.requests / report.seconds:.0f} a second")
    for name, count in ledger.kinds.most_common():
        print(f"  {name:14}{count:>10,}")
    first, last = report.memory[0][1], report.memory[-1][1]
    print(f"wrong replies {ledger.wrong_count}, tags that show {ledger.leaks}")
    print(f"resident memory {first:.1f} MB at the start, {last:.1f} at the end;", end=" ")
    print(f"{report.slope_mb:+.2f} MB in 10 minutes after the warm-up")
    for fault in report.faults():
        print(f"FAULT {fault}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--callers", type=int, default=24, help="at once")
    wishes = parser.parse_args()
    outcome = asyncio.run(soak(wishes.minutes * 60, wishes.callers))
    show(outcome)
    sys.exit(bool(outcome.faults()))
