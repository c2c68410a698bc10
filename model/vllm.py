"""The engine port over vLLM's OpenAI server, by aiohttp.

One session per process. Time-outs are explicit: connecting, and silence before the first byte and
between bytes. A stream may take as long as it needs; an answer at once is silent until it is whole,
and so has the time of one silence. Failures of aiohttp become leaves of our tree here alone.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from model.decision import GREETING, MODE_ARGUMENT
from model.engine import Body, EngineStream, Headers, server_of
from model.errors import (
    EngineBroken,
    EngineBusy,
    EngineError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    InvalidRequest,
)
from model.mode import ANCHOR, TagIds, Tags

# vLLM closes idle connections after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): let go of them before.
KEEP_ALIVE_S = 4.0
MAX_EVENT_BYTES = 4_000_000
"""What goes on beyond this is not an event of a stream."""
FAILED = b'{"error":'
"""How an event begins that stands in place of all that would come. vLLM looks at some of what was
asked (log-probabilities, ids of tokens, a grammar) only after its status, which says 200 then."""
CHAT_PATH = "/v1/chat/completions"
JSON_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `silence_s` bounds the wait for the next byte, the first included; `ping_s` and
    `look_s` bound whole calls: of pings, and of questions about what is served."""

    connect_s: float = 5.0
    silence_s: float = 300.0
    ping_s: float = 2.0
    look_s: float = 15.0

    def within(self, total_s: float | None) -> aiohttp.ClientTimeout:
        """The limits of one call, which may take `total_s` as a whole."""
        return aiohttp.ClientTimeout(
            total=total_s, sock_connect=self.connect_s, sock_read=self.silence_s
        )


class VllmEngine:
    """`model.engine.Engine` for a vLLM server at `url`."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self._url = server_of(url)
        self._headers = {
            **JSON_HEADERS,
            **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        }
        timeouts = timeouts or Timeouts()
        self._answer_limit = timeouts.within(None)
        self._ping_limit = timeouts.within(timeouts.ping_s)
        self._look_limit = timeouts.within(timeouts.look_s)
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, body: Body, headers: Headers | None = None) -> bytes:
        return await self._read("POST", CHAT_PATH, self._answer_limit, body, headers)

    async def stream(self, body: Body, headers: Headers | None = None) -> EngineStream:
        with _translated():
            response = await self._request("POST", CHAT_PATH, self._answer_limit, body, headers)
        return _SseStream(response)

    async def models(self) -> list[dict[str, Any]]:
        listed = await self._json("GET", "/v1/models", self._ping_limit)
        return list(listed["data"])

    async def tag_ids(self, tags: Tags) -> TagIds:
        texts = [ANCHOR, *(before + tag for tag in tags for before in (ANCHOR, ""))]
        ids = {text: await self._encoded(text) for text in texts}
        return TagIds.read(ids.__getitem__, tags)

    async def _encoded(self, text: str) -> list[int]:
        question = {"prompt": text, "add_special_tokens": False}
        answer = await self._json("POST", "/tokenize", self._look_limit, question)
        return list(answer["tokens"])

    async def has_gate(self) -> bool:
        served = await self.models()
        greeting = {
            "model": served[0]["id"],
            "messages": [{"role": "user", "content": "-"}],
            "max_tokens": 1,
            "vllm_xargs": {MODE_ARGUMENT: GREETING},
        }
        try:
            await self._json("POST", CHAT_PATH, self._look_limit, greeting)
        except EngineRejected as refusal:
            return refusal.status == 400 and MODE_ARGUMENT in refusal.message
        return False

    async def ping(self) -> None:
        with _translated():
            response = await self._request("GET", "/health", self._ping_limit)
            response.release()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _json(
        self, method: str, path: str, limit: aiohttp.ClientTimeout, body: Body | None = None
    ) -> dict[str, Any]:
        answer = _decode(await self._read(method, path, limit, body))
        if not isinstance(answer, dict):
            raise EngineBroken("the engine's answer is not a JSON object")
        return answer

    async def _read(
        self,
        method: str,
        path: str,
        limit: aiohttp.ClientTimeout,
        body: Body | None = None,
        headers: Headers | None = None,
    ) -> bytes:
        with _translated():
            async with await self._request(method, path, limit, body, headers) as response:
                return await response.read()

    async def _request(
        self,
        method: str,
        path: str,
        limit: aiohttp.ClientTimeout,
        body: Body | None = None,
        headers: Headers | None = None,
    ) -> aiohttp.ClientResponse:
        session = self._opened()
        response = await session.request(
            method,
            self._url + path,
            data=None if body is None else _encode(body),
            headers=headers,
            timeout=limit,
        )
        if response.status < 400:
            return response
        async with response:
            raise _refusal(response.status, await response.read())

    def _opened(self) -> aiohttp.ClientSession:
        # Made on first use: a session belongs to the event loop that is running then.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                headers=self._headers,
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _SseStream:
    """Server-sent events of one response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def events(self) -> AsyncIterator[list[bytes]]:
        splitter = EventSplitter()
        with _translated():
            async for received in self._response.content.iter_any():
                payloads = splitter.feed(received)
                if payloads and payloads[-1].startswith(FAILED):
                    *before, failed = payloads
                    if before:
                        yield before
                    raise _failure(failed)
                if payloads:
                    yield payloads
        if not splitter.is_done:
            raise EngineBroken("the engine's stream ended before it was done")

    def close(self) -> None:
        self._response.close()


class EventSplitter:
    """Cuts a byte stream into the payloads of its `data:` events; `[DONE]` sets `is_done`.

    Works on bytes, so a character that is cut in two is whole again before it is decoded. vLLM
    ends lines with a line feed and writes one `data:` line per event; comments are dropped.
    Raises EngineBroken where an event does not end.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.is_done = False

    def feed(self, received: bytes) -> list[bytes]:
        *events, self._rest = (self._rest + received).split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EngineBroken("the engine sent an event without end")
        payloads = []
        for event in events:
            if event.startswith(b"data: {"):
                payloads.append(event[6:])
            elif event == b"data: [DONE]":
                self.is_done = True
        return payloads


def _encode(body: Body) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        # What JSON can say and its writer cannot: deep nesting, numbers beyond 64 bits.
        raise InvalidRequest(f"body: {error}", field="body") from error


def _decode(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EngineBroken("the engine's answer is not JSON") from error


def _refusal(status: int, raw: bytes) -> EngineError:
    """The engine's error answer as a leaf; vLLM answers 503 when it is full."""
    try:
        error = _decode(raw)
    except EngineBroken:
        error = {}
    inner = error.get("error", error) if isinstance(error, dict) else {}
    if not isinstance(inner, dict):
        # vLLM's 401 carries a bare string where OpenAI has an object.
        inner = {"message": str(inner)}
    if status in (502, 503, 429):
        return EngineBusy("the engine is overloaded or starting")
    if status in (408, 504):
        return EngineTimeout("the engine gave up on the request")
    if status >= 500:
        return EngineBroken(f"the engine failed with status {status}")
    return EngineRejected(status, inner)


def _failure(event: bytes) -> EngineError:
    """What an event says in place of the rest of a stream; its code is the status it would have."""
    error = _decode(event)["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return _refusal(code if isinstance(code, int) and 400 <= code < 600 else 500, event)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what aiohttp raises into our tree. The URL, which may hold a password, stays out."""
    try:
        yield
    except TimeoutError as error:  # aiohttp's time-outs are subclasses
        raise EngineTimeout("the engine did not answer in time") from error
    except aiohttp.ClientPayloadError as error:
        raise EngineBroken("the engine's answer broke off") from error
    except aiohttp.ClientResponseError as error:
        raise EngineBroken("the engine's answer is not HTTP") from error
    except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
        raise EngineUnavailable("the engine cannot be reached") from error
