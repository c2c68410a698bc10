"""Callers of the soak: each asks for something, and knows exactly what has to come back.

Every reply is held against what was asked (mode, source, persona, text), and everything that the
gateway should have counted is counted here too, under the names of its own metrics.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from benchmarks.soak_ledger import Ledger, Wish
from model.prompt import PromptForm

CHAT = "/v1/chat/completions"
MODES = ("general", "personalized")
CANCEL_AFTER_S = 0.3
SLOW = {"delay_s": 0.1, "padding": "word " * 100}
"""Of an answer that is not waited for: ten seconds long, however late we leave it."""


@dataclass(frozen=True)
class Site:
    """Where the gateway is, and the keys: per tenant one, and one that is limited."""

    url: str
    keys: Mapping[str, str]
    limited_key: str


class Caller:
    """One caller, who asks for one thing after another. Its users are its own in its tenant; in
    other tenants the same ids are other users."""

    def __init__(self, number: int, site: Site, session: aiohttp.ClientSession, ledger: Ledger):
        tenants = list(site.keys)
        self._tenant = tenants[number % len(tenants)]
        self._key = site.keys[self._tenant]
        self._site = site
        self._session = session
        self._ledger = ledger
        self._random = random.Random(number)
        self._users = [f"user-{number // len(tenants)}-{index}" for index in range(3)]
        self._texts: dict[str, str | None] = dict.fromkeys(self._users)
        self._versions: Counter[str] = Counter()
        self._numbers = iter(range(number, 10**12, 1_000))
        self._does: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.answer, 40),
            (self.stream, 40),
            (self.decide, 8),
            (self.write, 8),
            (self.forget, 2),
            (self.read, 3),
            (self.leave_stream, 2),
            (self.leave_answer, 1),
            (self.mistake, 6),
            (self.exceed, 6),
        ]

    async def act(self) -> None:
        actions, weights = zip(*self._does, strict=True)
        [action] = self._random.choices(actions, weights)
        self._ledger.kinds[action.__name__] += 1
        await action()

    def wish(self, *, is_plain: bool = False, **fields: Any) -> Wish:
        """A request at random."""
        pick = self._random.choice
        lean, number = pick(MODES), next(self._numbers)
        question = orjson.dumps({"lean": lean, "number": number, **fields}).decode()
        asked: dict[str, Any] = {}
        body: dict[str, Any] = {"messages": [{"role": "user", "content": question}]}
        text, looks_up = None, False
        whose = pick(("stored", "stored", "stored", "nobody", "inline"))
        if whose == "stored":
            body["user"] = pick(self._users)
            text, looks_up = self._texts[body["user"]], True
        elif whose == "inline":
            text = asked["persona"] = f"Somebody, number {number}."
        mode, source = lean, "model"
        dial = "auto" if is_plain else pick(("auto", "auto", "mode", "alias", "threshold"))
        if dial in ("mode", "alias"):
            mode, source = pick(MODES), "request"
            if dial == "mode":
                asked["mode"] = mode
            else:
                body["model"] = f"pocket-{mode}"
        elif dial == "threshold":
            asked["threshold"] = pick((0, 1))
            mode, source = MODES[1 - asked["threshold"]], "threshold"
        isolation = asked["isolation"] = "shared" if is_plain else pick(("shared", "strict"))
        status = "absent" if text is None else "applied"
        if status == "applied" and isolation == "strict" and mode == "general":
            status = "withheld"
        messages = [["user", question]]
        if status == "applied":
            assert text is not None
            messages.insert(0, ["system", PromptForm().fill(text)])
        body["personadual"] = asked
        return Wish(body, mode, source, status, messages, looks_up)

    async def answer(self) -> None:
        wish = self.wish()
        n = self._random.choice((1, 1, 1, 2))
        status, raw, headers = await self._post(CHAT, {**wish.body, "n": n})
        if not self._is(200, status, raw):
            return
        reply = orjson.loads(raw)
        self._hold_extension(reply["personadual"], wish)
        shown = (headers["x-personadual-mode"], headers["x-personadual-source"])
        self._ledger.hold(shown == (wish.mode, wish.source), f"headers {shown} for {wish}")
        for choice in reply["choices"]:
            message = choice["message"]
            is_right = (message["content"], message["reasoning_content"]) == (wish.text, "So.")
            self._ledger.hold(is_right, f"{message} for {wish}")
        self._ledger.hold(len(reply["choices"]) == n, f"{len(reply['choices'])} choices for {n}")
        self._count_answer(wish, reply["usage"], n)

    async def stream(self) -> None:
        wish = self.wish()
        body = {**wish.body, "stream": True, "stream_options": {"include_usage": True}}
        status, raw, _headers = await self._post(CHAT, body)
        if not self._is(200, status, raw):
            return
        *events, done = raw.removesuffix(b"\n\n").split(b"\n\n")
        self._ledger.hold(done == b"data: [DONE]", f"a stream ends with {done[:200]!r}")
        chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
        self._hold_extension(chunks[0].get("personadual") or {}, wish)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
        text = "".join(delta.get("content") or "" for delta in deltas)
        reasoning = "".join(delta.get("reasoning_content") or "" for delta in deltas)
        self._ledger.hold((text, reasoning) == (wish.text, "So."), f"{text!r} for {wish}")
        usage = chunks[-1].get("usage")
        self._ledger.hold(usage is not None, f"no usage for {wish}")
        self._count_answer(wish, usage or {}, 1)
        self._ledger.count("first_token_seconds_count", mode=wish.mode)

    async def decide(self) -> None:
        wish = self.wish(is_plain=True)
        status, raw, _headers = await self._post("/v1/mode", wish.body, route="mode")
        if not self._is(200, status, raw):
            return
        reply = orjson.loads(raw)
        [answer] = reply["answers"]
        self._ledger.hold(answer["choice"] == wish.mode, f"{answer} for {wish}")
        self._hold_extension(reply["personadual"], wish)
        self._count_decision(wish, 1)

    async def write(self) -> None:
        user = self._random.choice(self._users)
        text = f"{user} of {self._tenant}, number {next(self._numbers)}."
        status, raw, _headers = await self._persona("PUT", user, {"text": text})
        if not self._is(200, status, raw):
            return
        self._versions[user] += 1
        self._texts[user] = text
        version = orjson.loads(raw)["version"]
        self._ledger.hold(version == self._versions[user], f"version {version} of {user}")

    async def forget(self) -> None:
        user = self._random.choice(self._users)
        status, raw, _headers = await self._persona("DELETE", user)
        if self._is(200 if self._texts[user] else 404, status, raw):
            self._texts[user] = None
            self._versions[user] = 0

    async def read(self) -> None:
        user = self._random.choice(self._users)
        status, raw, _headers = await self._persona("GET", user)
        text = self._texts[user]
        if self._is(200 if text else 404, status, raw) and text:
            self._ledger.hold(orjson.loads(raw)["text"] == text, f"{raw!r} for {text}")

    async def leave_stream(self) -> None:
        """After the first text, long before the end."""
        wish = self.wish(is_plain=True, **SLOW)
        body = orjson.dumps({**wish.body, "stream": True})
        async with self._session.post(
            self._site.url + CHAT, data=body, headers=self._headers(self._key)
        ) as response:
            first = await response.content.readuntil(b"\n\n")
            self._ledger.look_for_tags(first + await response.content.readuntil(b"\n\n"))
            self._hold_extension(orjson.loads(first[6:]).get("personadual") or {}, wish)
            response.close()
        self._ledger.count("requests_total", route="chat", status="200")
        self._count_decision(wish, 1)
        self._ledger.count("first_token_seconds_count", mode=wish.mode)
        self._ledger.count("request_seconds_count", mode=wish.mode)

    async def leave_answer(self) -> None:
        """While the engine thinks."""
        wish = self.wish(is_plain=True, **SLOW)
        asking = self._session.post(
            self._site.url + CHAT, data=orjson.dumps(wish.body), headers=self._headers(self._key)
        )
        try:
            async with asyncio.timeout(CANCEL_AFTER_S), asking as response:
                self._ledger.hold(False, f"{response.status} came too early for {wish}")
        except TimeoutError:
            self._ledger.count("requests_total", route="chat", status="499")
            self._ledger.count("lookups", wish.looks_up)

    async def mistake(self) -> None:
        wrong, status, reason = self._random.choice(
            (
                (b"{", 400, "invalid"),
                (b'{"messages": []}', 400, "invalid"),
                (b'{"messages": [{"role": "user", "content": "x"}], "n": 0}', 400, "invalid"),
                (b'{"messages": [{"role": "user", "content": "x"}], "model": "x"}', 404, ""),
                (b"x", 401, "unauthorized"),
            )
        )
        key = "pd-0-0" if status == 401 else self._key
        seen, raw, _headers = await self._post(CHAT, wrong, key=key)
        self._ledger.count("rejected_total", reason=reason or "unknown_model")
        if self._is(status, seen, raw):
            error = orjson.loads(raw)["error"]
            self._ledger.hold(set(error) == {"message", "type", "param", "code"}, f"{error}")

    async def exceed(self) -> None:
        """With a key whose limit is there to be reached."""
        question = orjson.dumps({"lean": "general", "number": next(self._numbers)}).decode()
        body = {"messages": [{"role": "user", "content": question}]}
        status, raw, headers = await self._post(CHAT, body, key=self._site.limited_key)
        if status == 429:
            self._ledger.count("rejected_total", reason="limited")
            self._ledger.count("limit_checks_total", outcome="requests")
            self._ledger.hold("retry-after" in headers, "429 without Retry-After")
        elif self._is(200, status, raw):
            self._ledger.count("limit_checks_total", outcome="admitted")
            wish = Wish(body, "general", "model", "absent", [], looks_up=False)
            self._count_answer(wish, orjson.loads(raw)["usage"], 1)

    async def _post(
        self, path: str, body: Any, *, route: str = "chat", key: str | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self._call("POST", path, raw, route, key or self._key)

    async def _persona(
        self, method: str, user: str, body: Any = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        raw = None if body is None else orjson.dumps(body)
        return await self._call(method, f"/v1/personas/{user}", raw, "personas", self._key)

    async def _call(
        self, method: str, path: str, raw: bytes | None, route: str, key: str
    ) -> tuple[int, bytes, Mapping[str, str]]:
        async with self._session.request(
            method, self._site.url + path, data=raw, headers=self._headers(key)
        ) as response:
            answer = await response.read()
            self._ledger.count("requests_total", route=route, status=str(response.status))
            self._ledger.look_for_tags(answer)
            return response.status, answer, response.headers

    def _headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def _is(self, wanted: int, status: int, raw: bytes) -> bool:
        self._ledger.hold(status == wanted, f"{status} instead of {wanted}: {raw[:300]!r}")
        return status == wanted

    def _hold_extension(self, extension: Mapping[str, Any], wish: Wish) -> None:
        persona = extension.get("persona") or {}
        seen = (extension.get("mode"), extension.get("source"), persona.get("status"))
        self._ledger.hold(seen == (wish.mode, wish.source, wish.status), f"{extension} for {wish}")
        if persona.get("version") is not None:
            is_latest = persona["version"] == self._versions[wish.body["user"]]
            self._ledger.hold(is_latest, f"{persona}, not {self._versions}")

    def _count_answer(self, wish: Wish, usage: Mapping[str, int], n: int) -> None:
        self._count_decision(wish, n)
        self._ledger.count("request_seconds_count", mode=wish.mode)
        for kind in ("prompt", "completion"):
            tokens = usage.get(f"{kind}_tokens", 0)
            self._ledger.count("tokens_total", tokens, mode=wish.mode, kind=kind)

    def _count_decision(self, wish: Wish, n: int) -> None:
        labels = {"mode": wish.mode, "source": wish.source, "persona": wish.status}
        self._ledger.count("mode_decisions_total", n, **labels)
        self._ledger.count("mode_probability_count", n)
        self._ledger.count("lookups", wish.looks_up)
