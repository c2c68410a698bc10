"""A teacher over real HTTP: it answers the prompts of training.data as told, or makes trouble."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DRIPS_S = 5.0

Trouble = int | str | float
"""A status to answer, a text to reply, or seconds to wait before the reply.

"drip" as `Script.always` sends line feeds and no reply."""


@dataclass
class Script:
    """How the teacher behaves. `keys`: what it knows, as (part of a question, answer).

    A request with a field of `refuses` gets a 400, and `bodies` are what was sent.
    `trouble` maps a part of a prompt to what happens on its next requests, one after the other.
    """

    keys: dict[str, str] = field(default_factory=dict)
    trouble: dict[str, list[Trouble]] = field(default_factory=dict)
    always: Trouble | None = None
    refuses: frozenset[str] = frozenset()
    on_request: Callable[[int], None] = lambda count: None
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    authorization: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def reply(self, prompt: str) -> str:
        if "<persona>" in prompt:
            return "<persona>A patient teacher of this very subject.</persona>"
        told = re.search(r"The right answer is: (.+)", prompt)
        known = next((key for part, key in self.keys.items() if part in prompt), "A")
        return f"Step by step it follows.\n\n<answer>{told[1] if told else known}</answer>"

    def next_trouble(self, prompt: str) -> Trouble | None:
        for part, troubles in self.trouble.items():
            if part in prompt and troubles:
                return troubles.pop(0)
        return self.always


class ScriptedTeacher:
    """Runs in a thread with a loop of its own; `url` is where it listens."""

    def __init__(self) -> None:
        self.script = Script()
        self.url = ""
        self._now = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        script = self.script
        script.asked.append(prompt)
        script.bodies.append(body)
        script.authorization.append(request.headers.get("Authorization", ""))
        script.on_request(len(script.asked))
        self._now += 1
        script.most_at_once = max(script.most_at_once, self._now)
        try:
            if script.always == "drip":
                return await _drip(request)
            if script.refuses & set(body):
                return web.json_response({"error": {"message": "unsupported"}}, status=400)
            return await self._answer(script, prompt)
        finally:
            self._now -= 1

    async def _answer(self, script: Script, prompt: str) -> web.Response:
        trouble = script.next_trouble(prompt)
        if isinstance(trouble, int):
            return web.json_response({"error": {"message": "told to"}}, status=trouble)
        # Long enough that requests meet.
        await asyncio.sleep(trouble if isinstance(trouble, float) else 0.002)
        if trouble == "not json":
            return web.Response(text="<html>", content_type="text/html")
        if trouble == "no choices":
            return web.json_response({"object": "chat.completion"})
        text = trouble if isinstance(trouble, str) else script.reply(prompt)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "length" if trouble == "cut off" else "stop",
        }
        return web.json_response(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "scripted",
                "choices": [choice],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _drop in range(round(DRIPS_S / 0.2)):
            await response.write(b"\n")
            await asyncio.sleep(0.2)
    return response


def running() -> Iterator[ScriptedTeacher]:
    teacher = ScriptedTeacher()
    teacher.start()
    yield teacher
    teacher.stop()
