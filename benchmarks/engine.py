"""What the gate and strict isolation cost, measured on the real engine.

    python -m benchmarks.engine [--rounds 3]

Two vLLM servers run the whole time, one with our plug-ins and one without; loads alternate
between them, so that a noisy machine is noisy for all. The second table asks through a gateway
for the first text of an answer, with the persona shared and strict.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks.servers import own_redis, serve
from model.decision import Dial
from model.mode import Tags
from model.vllm import VllmEngine
from testbed.real_engine import RealEngine, built_pocket

CLIENTS, TOKENS = 16, 96
PERSONA = "Ada is vegan, cooks for two and lives in Lisbon. " * 4
QUESTION = [{"role": "user", "content": "What should I cook tonight?"}]


def body(**fields: Any) -> dict[str, Any]:
    """Exactly so many tokens, whatever the model would like."""
    length = {"max_tokens": TOKENS, "ignore_eos": True, "temperature": 0}
    return {"model": "pocket", "messages": QUESTION, **length, **fields}


async def tokens_per_second(url: str, asked: dict[str, Any]) -> float:
    engine = VllmEngine(url)
    begun = time.perf_counter()
    answers = await asyncio.gather(*(engine.complete(asked) for _ in range(CLIENTS)))
    taken = time.perf_counter() - begun
    await engine.close()
    return sum(orjson.loads(a)["usage"]["completion_tokens"] for a in answers) / taken


async def measure_gate(gated: RealEngine, plain: RealEngine, rounds: int) -> None:
    port = VllmEngine(gated.url)
    rivals = list((await port.tag_ids(Tags())).rivals())
    await port.close()
    gate = {"vllm_xargs": Dial().to_arguments()}
    logprobs = {"logprobs": True, "logprob_token_ids": rivals}
    loads: dict[str, tuple[str, dict[str, Any]]] = {
        "no plug-in": (plain.url, body()),
        "plug-in, not gated": (gated.url, body()),
        "gated": (gated.url, body(**gate)),
        "gated, with the probability": (gated.url, body(**gate, **logprobs)),
        "no plug-in, same logprobs": (plain.url, body(**logprobs)),
    }
    rates: dict[str, list[float]] = {name: [] for name in loads}
    for turn in range(rounds + 1):
        for name, (url, asked) in loads.items():
            rate = await tokens_per_second(url, asked)
            if turn:  # the first round warms up
                rates[name].append(rate)
    base = statistics.median(rates["no plug-in"])
    print(f"\n{CLIENTS} requests at once of {TOKENS} tokens, medians of {rounds} rounds")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"  {name:30}{median:9.1f} tokens/s{median / base:9.1%}")


async def first_text_ms(session: aiohttp.ClientSession, url: str, extension: Any) -> float:
    asked = {**body(stream=True, max_tokens=4), "user": "ada", "personadual": extension}
    begun = time.perf_counter()
    async with session.post(f"{url}/v1/chat/completions", data=orjson.dumps(asked)) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                delta = orjson.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content"):
                    taken = time.perf_counter() - begun
                    await response.read()
                    return taken * 1000
    raise SystemExit("the answer held no text")


async def measure_strict(engine: RealEngine, rounds: int) -> None:
    with (
        own_redis() as redis_url,
        serve(
            "app.main:gateway",
            {
                "PERSONADUAL_ENGINE_URL": engine.url,
                "PERSONADUAL_REDIS_URL": redis_url,
                "PERSONADUAL_CHECKPOINT": str(engine.checkpoint),
            },
            options="--log-level error",
        ) as gateway,
    ):
        url = gateway.url
        await gateway.wait_up("/health/ready")
        async with aiohttp.ClientSession() as session:
            await session.put(f"{url}/v1/personas/ada", json={"text": PERSONA})
            kinds: dict[str, Any] = {
                f"{mode}, {isolation}": {
                    "isolation": isolation,
                    "threshold": 1 if mode == "general" else 0,
                }
                for mode in ("general", "personalized")
                for isolation in ("shared", "strict")
            }
            await show_first_text(
                lambda kind: first_text_ms(session, url, kinds[kind]), kinds, rounds
            )


async def show_first_text(
    ask: Callable[[str], Awaitable[float]], kinds: dict[str, Any], rounds: int
) -> None:
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(4 * rounds + 1):
        for kind in kinds:
            taken = await ask(kind)
            if turn:
                times[kind].append(taken)
    print(f"\nFirst text through the gateway, one client, medians of {4 * rounds}")
    for kind, values in times.items():
        print(f"  {kind:30}{statistics.median(values):9.0f} ms")


def main(rounds: int) -> None:
    folder, pocket = Path(tempfile.mkdtemp()), built_pocket(is_trained=True)
    options = ["--max-num-seqs", str(CLIENTS)]
    gated = RealEngine(pocket, folder / "gated", options)
    plain = RealEngine(pocket, folder / "plain", options, has_gate=False)
    try:
        for engine in (gated, plain):
            engine.start()
        asyncio.run(measure_gate(gated, plain, rounds))
        asyncio.run(measure_strict(gated, rounds))
    finally:
        for engine in (gated, plain):
            engine.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
