"""A simulated endpoint over real HTTP: answers a suite as a test plans it, or fails as planned."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from model.mode import Mode
from training.evaluation.conditions import Shown, makes_sense, persona_text
from training.items import Item, Kind

MODEL = "sim"


@dataclass(frozen=True)
class Request:
    """What was asked, as a test sees it. `mode` is the forced one."""

    item: Item
    condition: Shown
    mode: Mode | None
    isolation: str | None
    seed: int


@dataclass(frozen=True)
class Reply:
    """`status` other than 200 fails; `raw` is sent in place of a completion; `wait_s` hangs."""

    text: str = ""
    mode: Mode | None = None
    probability: float | None = None
    status: int = 200
    raw: str | None = None
    wait_s: float = 0.0
    finish_reason: str = "stop"


Behaviour = Callable[[Request], Reply]


@dataclass
class Simulated:
    """`behave` may be changed between two requests; of `refuses` a request may have no field."""

    items: Sequence[Item]
    behave: Behaviour
    has_modes: bool = True
    refuses: frozenset[str] = frozenset()
    url: str = ""
    seen: list[Request] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def models(self, _request: web.Request) -> web.Response:
        names = [MODEL, *(f"{MODEL}-{mode}" for mode in Mode if self.has_modes)]
        return web.json_response({"object": "list", "data": [{"id": name} for name in names]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuses & body.keys():
            return web.json_response({"error": {"message": "unsupported"}}, status=400)
        asked = self._asked(body)
        self.bodies.append(body)
        self.seen.append(asked)
        reply = self.behave(asked)
        await asyncio.sleep(reply.wait_s)
        if reply.status != 200:
            return web.json_response({"error": {"message": "planned"}}, status=reply.status)
        if reply.raw is not None:
            return web.Response(text=reply.raw, content_type="application/json")
        content: dict[str, Any] = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": reply.text},
                    "finish_reason": reply.finish_reason,
                }
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        }
        if self.has_modes:
            said = {"mode": reply.mode, "probability": reply.probability, "source": "model"}
            content["personadual"] = said
        return web.Response(text=json.dumps(content), content_type="application/json")

    def _asked(self, body: dict[str, Any]) -> Request:
        question = body["messages"][-1]["content"]
        item = next(item for item in self.items if item.question == question)
        said = body.get("personadual") or {}
        persona = said.get("persona")
        if not self.has_modes and body["messages"][0]["role"] == "system":
            persona = body["messages"][0]["content"]
        found = Shown.NONE
        for condition in Shown:
            is_asked = makes_sense(item, condition)
            text = persona_text(item, condition) if is_asked else None
            if text and persona and persona.endswith(text):
                found = condition
        mode = said.get("mode", "auto")
        forced = None if mode == "auto" else Mode(mode)
        return Request(item, found, forced, said.get("isolation"), body.get("seed", 0))


@contextmanager
def running(simulated: Simulated) -> Iterator[Simulated]:
    """Serve it from a thread with a loop of its own."""
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", simulated.models)
        app.router.add_post("/v1/chat/completions", simulated.chat)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        simulated.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    yield simulated
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def facts(count: int) -> list[dict[str, Any]]:
    """Lines of a suite: no more than a user's own has."""
    return [
        {
            "id": f"fact-{place:03}",
            "kind": Kind.OBJECTIVE,
            "question": f"What is {place} plus 1000?",
            "answers": [str(place + 1000)],
            "match": "number",
            "personas": {
                "aligned": f"Counts all day, {place}.",
                "unaligned": f"Likes beetroot, {place}.",
            },
        }
        for place in range(count)
    ]


def wishes(count: int) -> list[dict[str, Any]]:
    """Personal questions with options, the first of which is right."""
    return [
        {
            "id": f"wish-{place:03}",
            "kind": Kind.PERSONALIZED,
            "is_hard": place % 2 == 1,
            "question": f"What shall I eat on day {place}?\nA) tofu {place}\nB) steak {place}",
            "answers": ["A"],
            "match": "mcq",
            "personas": {
                "aligned": f"Eats no animals, {place}.",
                "unaligned": f"Sails, {place}.",
            },
        }
        for place in range(count)
    ]


def right(asked: Request, mode: Mode | None = None) -> Reply:
    """The accepted answer, in the mode that was asked for or else the item's own."""
    taken = asked.mode or mode or asked.item.mode
    probability = 0.9 if taken is Mode.PERSONALIZED else 0.1
    return Reply(asked.item.answers[0], taken, probability)


def write_lines(lines: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def counted(seen: Sequence[Request]) -> Counter[tuple[Shown, Mode | None]]:
    return Counter((request.condition, request.mode) for request in seen)
