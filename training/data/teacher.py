"""Teacher: a model behind an OpenAI-compatible endpoint, asked within bounds.

Time-outs, 429 and 5xx are retried by the client, with its back-off. What then has no usable reply
is dropped with a reason. A teacher that fails or refuses again and again ends the build instead,
and those failures are not kept: when it is back, they are asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self, TypeVar

import openai
from openai.types.chat import ChatCompletion

from model.errors import PersonaDualError
from training.data.journal import Entry, Journal
from training.data.prompts import Unusable, Wish
from training.data.recipe import TeacherSettings
from training.openai_client import limit_s, open_client

T = TypeVar("T")
REFUSED = "refused"
_FAILURES: tuple[tuple[type[openai.APIError], str], ...] = (
    (openai.APITimeoutError, "timed out"),
    (openai.APIConnectionError, "unreachable"),
    (openai.RateLimitError, "overloaded"),
    (openai.InternalServerError, "server error"),
    (openai.APIError, REFUSED),
)
_USELESS = {
    401: None,
    402: "there is no balance for this key; top it up and run again, which goes on from here",
    403: None,
    404: None,
}
"""Statuses that every further request would get too, and what to do about them where that is not
to see what was `Named`."""


@dataclass(frozen=True, slots=True)
class Named:
    """Where a user has named what the teacher is, and how it is asked; by default in a recipe."""

    teacher: str = "url, model and api_key_env of the recipe"
    request: str = (
        "model, extra, max_tokens and temperature of the recipe"
        ' (either of the last two is not sent if it is "none")'
    )


IN_A_RECIPE = Named()


class TeacherFailed(PersonaDualError):
    """The teacher cannot be used: wrong address, key or model, or it fails all the time."""

    code = "teacher_failed"


class Dropped(Exception):
    """What was asked for does not come; the reason is its only argument."""


@dataclass(slots=True)
class Meter:
    """What the replies of a build cost. `asked` counts this run's requests alone."""

    asked: int = 0
    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def usd(self, settings: TeacherSettings) -> float:
        return (
            self.prompt_tokens * settings.usd_per_million_prompt_tokens
            + self.completion_tokens * settings.usd_per_million_completion_tokens
        ) / 1e6


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that one failure ends, which is raised as it is: the others only say the same."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Teacher:
    """Asks what the journal does not know; `concurrency` requests at a time.

    On leaving without an error, what failed last is kept if the teacher answered in this run at
    all. An error may be the end of an outage: what led to it is asked for again.
    `with_reasoning` keeps the reasoning that stands beside a reply's text, which may be long.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        api_key: str,
        journal: Journal,
        named: Named = IN_A_RECIPE,
        *,
        with_reasoning: bool = False,
    ) -> None:
        self.meter = Meter()
        self._settings = settings
        self._named = named
        self._journal = journal
        self._with_reasoning = with_reasoning
        self._client = open_client(
            settings.url, api_key=api_key, timeout_s=settings.timeout_s, retries=settings.retries
        )
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._limit_s = limit_s(settings.timeout_s, settings.retries)
        self._failed: list[Entry] = []
        self._used: set[str] = set()

    async def ask(self, wish: Wish[T]) -> T:
        """A reply that can be used, after `tries` at most.

        Raises:
            Dropped: there is none.
            TeacherFailed: the teacher cannot be used at all.
        """
        reason = ""
        for attempt in range(self._settings.tries):
            text, _reasoning = await self.reply(wish.messages(attempt))
            try:
                return wish.read(text)
            except Unusable as error:
                reason = str(error)
        raise Dropped(reason)

    async def reply(self, messages: list[dict[str, str]]) -> tuple[str, str]:
        """What it says to this: text and reasoning, which is empty where there is none.

        Raises:
            Dropped: it says nothing, or not to the end.
            TeacherFailed: the teacher cannot be used at all.
        """
        entry = await self._reply(messages)
        if entry.text is None:
            raise Dropped(entry.failure or "no text")
        return entry.text, entry.reasoning or ""

    def see(self, reasons: Collection[str]) -> str:
        """Where to look, as the end of a sentence, if everything was dropped for these reasons."""
        return f"; see {self._named.request}" if REFUSED in reasons else ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.meter.asked > len(self._failed):
            self._keep_failed()
        await self._client.close()

    async def _reply(self, messages: list[dict[str, str]]) -> Entry:
        request = {
            "model": self._settings.model,
            "messages": messages,
            "extra_body": self._settings.extra or None,
        }
        for name in ("temperature", "max_tokens"):
            if (value := getattr(self._settings, name)) is not None:
                request[name] = value
        text = json.dumps(request, sort_keys=True)
        key = blake2b(text.encode(), digest_size=16).hexdigest()
        async with self._asking[key]:
            entry = self._journal.get(key)
            if entry is None:
                async with self._slots:
                    entry = await self._request(key, request)
                    self._settle(entry)
        if key not in self._used:
            self._used.add(key)
            self.meter.replies += 1
            self.meter.prompt_tokens += entry.prompt_tokens
            self.meter.completion_tokens += entry.completion_tokens
        return entry

    def _settle(self, entry: Entry) -> None:
        self.meter.asked += 1
        if entry.failure in _PASSING:
            self._failed.append(entry)
            if len(self._failed) >= self._settings.give_up_after:
                count = len(self._failed)
                self._failed.clear()
                see = f"see {self._named.request}; " if entry.failure == REFUSED else ""
                raise TeacherFailed(
                    f"the teacher failed {count} times in a row ({entry.failure}); {see}"
                    "its replies so far are in the journal, and another run goes on from them"
                )
            return
        self._keep_failed()
        self._journal.add(entry)

    def _keep_failed(self) -> None:
        for entry in self._failed:
            self._journal.add(entry)
        self._failed.clear()

    async def _request(self, key: str, request: dict[str, Any]) -> Entry:
        try:
            async with asyncio.timeout(self._limit_s):
                response = await self._client.chat.completions.create(**request)
        except TimeoutError:
            return Entry(key, failure="timed out")
        except openai.APIError as error:
            status = error.status_code if isinstance(error, openai.APIStatusError) else None
            if status in _USELESS:
                # What the server says is left out: it may repeat the key.
                raise TeacherFailed(
                    f"{self._settings.url} answered {status} to model {self._settings.model}:"
                    f" {_USELESS[status] or f'see {self._named.teacher}'}"
                ) from None
            failure = next(said for kind, said in _FAILURES if isinstance(error, kind))
            return Entry(key, failure=failure)
        return _entry(key, response, with_reasoning=self._with_reasoning)


_BROKEN = "no chat completion"
_PASSING = frozenset({_BROKEN, *(said for _kind, said in _FAILURES)})
"""Failures of the teacher, not of what was asked, if they come in a row."""


def _entry(key: str, response: object, *, with_reasoning: bool) -> Entry:
    """What a response holds. The client does not check it: any JSON, or any text, may come."""
    if not isinstance(response, ChatCompletion):
        return Entry(key, failure=_BROKEN)
    try:
        choice = response.choices[0]
        text, reason = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        return Entry(key, failure=_BROKEN)
    usage = response.usage
    tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    if reason == "length":
        return Entry(key, None, None, "cut off", *tokens)
    if not isinstance(text, str) or not text.strip():
        return Entry(key, None, None, "empty", *tokens)
    reasoning = _reasoning(choice.message) if with_reasoning else None
    return Entry(key, _whole(text), reasoning and _whole(reasoning), None, *tokens)


def _reasoning(message: object) -> str | None:
    """Under whichever of its two names a server sends it."""
    for name in ("reasoning", "reasoning_content"):
        if isinstance(found := getattr(message, name, None), str):
            return found
    return None


def _whole(text: str) -> str:
    """Half of a surrogate pair is JSON, but no text that a file could hold."""
    return text.encode("utf-8", "replace").decode()
