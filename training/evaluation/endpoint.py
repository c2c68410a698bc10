"""Endpoint: one request to an OpenAI-compatible endpoint, and the record of what came back.

An endpoint with modes (our gateway) gets the persona by the extension of design 4.4. Any other gets
it in the messages, by the gateway's own renderer, and its text is read by the gateway's own parser.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIStatusError, APITimeoutError

from model.errors import PersonaDualError
from model.mode import Mode
from model.prompt import render
from model.reply import parse_reply
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown, false_claim, makes_sense, persona_text
from training.evaluation.plan import Ask, Plan
from training.evaluation.readings import Reading, read_answer, read_claim
from training.openai_client import limit_s, open_client
from training.rewards import MAX_ANSWER_CHARACTERS, MAX_REPLY_CHARACTERS


class EndpointUnusable(PersonaDualError):
    """An endpoint cannot be asked at all: no connection, no such model, a key that is refused."""

    code = "endpoint_unusable"


@dataclass(frozen=True, slots=True)
class _Heard:
    text: str = ""
    mode: Mode | None = None
    probability: float | None = None
    source: str | None = None
    is_valid_format: bool = False
    tokens: int | None = None
    error: str | None = None


class Endpoint:
    """Asks one model of one endpoint. Failures are answers; nothing is raised for them."""

    def __init__(
        self, url: str, model: str, *, api_key: str, timeout_s: float, retries: int
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise EndpointUnusable(f"{url} is not a URL; give one like http://127.0.0.1:8080")
        self.model = model
        self.has_modes = False
        self._client = open_client(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._limit_s = limit_s(timeout_s, retries)

    async def close(self) -> None:
        await self._client.close()

    async def open(self) -> None:
        """See that the endpoint answers, and whether it has modes: it lists the model's aliases.

        Raises:
            EndpointUnusable: it cannot be reached, refuses the key, or has no such model.
        """
        base = self._client.base_url
        try:
            async with asyncio.timeout(self._limit_s):
                listed = await self._client.models.with_raw_response.list()
        except (APIConnectionError, TimeoutError) as error:
            raise EndpointUnusable(f"{base} does not answer: {_failure(error)}") from error
        except APIStatusError as error:
            if error.status_code in (401, 403):
                raise EndpointUnusable(f"{base} refuses the key; give --api-key") from error
            return  # It has no list of models, so it has no modes.
        names = _model_names(_parsed(listed.text))
        if names and self.model not in names:
            raise EndpointUnusable(f"{base} has no model {self.model}; it has {', '.join(names)}")
        self.has_modes = {f"{self.model}-{mode}" for mode in Mode} <= set(names)

    async def ask(self, ask: Ask, plan: Plan) -> Answer:
        """One request, with the client's retries."""
        begun = time.monotonic()
        elapsed_s = None
        try:
            async with asyncio.timeout(self._limit_s):
                raw = await self._client.chat.completions.with_raw_response.create(
                    **self._request(ask, plan)
                )
            # Without the attempts that failed before it.
            elapsed_s = raw.elapsed.total_seconds()
            heard = self._read(_parsed(raw.text))
        except (APIConnectionError, APIStatusError, TimeoutError) as error:
            heard = _Heard(error=_failure(error))
        return _answer(ask, heard, elapsed_s or time.monotonic() - begun)

    def _request(self, ask: Ask, plan: Plan) -> dict[str, Any]:
        persona = persona_text(ask.item, ask.condition)
        messages: list[Any] = [{"role": "user", "content": ask.item.question}]
        request: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
        }
        if not plan.is_plain:
            request |= {"temperature": plan.temperature, "max_tokens": plan.max_tokens}
            request["seed"] = ask.seed
        if not self.has_modes:
            return {**request, "messages": render(persona, messages)}
        extension: dict[str, Any] = {"mode": ask.forced or "auto", "isolation": ask.isolation}
        # Null, so that no persona of the caller's key slips in.
        extension |= {"persona_id": None} if persona is None else {"persona": persona}
        return {**request, "extra_body": {"personadual": extension}}

    def _read(self, body: Any) -> _Heard:
        """Read a reply; whatever is no chat completion is an error."""
        try:
            choice = body["choices"][0]
            text = choice["message"].get("content") or ""
        except (AttributeError, IndexError, KeyError, TypeError):
            return _Heard(error="no chat completion")
        if not isinstance(text, str):
            return _Heard(error="no chat completion")
        # JSON can hold half a surrogate pair, which no file can.
        text = text[:MAX_REPLY_CHARACTERS].encode("utf-8", "replace").decode()
        tokens = _mapping(body.get("usage")).get("completion_tokens")
        tokens = tokens if isinstance(tokens, int) else None
        if not self.has_modes:
            reply = parse_reply(text)
            is_valid = reply.is_complete and bool(reply.answer.strip())
            return _Heard(reply.answer, reply.mode, is_valid_format=is_valid, tokens=tokens)
        said = _mapping(body.get("personadual"))
        mode = Mode(said["mode"]) if said.get("mode") in list(Mode) else None
        is_whole = choice.get("finish_reason") == "stop" and bool(text.strip())
        return _Heard(
            text,
            mode,
            _probability(said.get("probability")),
            said["source"] if isinstance(said.get("source"), str) else None,
            mode is not None and is_whole,
            tokens,
        )


def _answer(ask: Ask, heard: _Heard, latency_s: float) -> Answer:
    item, reading = ask.item, read_answer(ask.item, heard.text)
    claimed = Reading(None, None)
    if makes_sense(item, Shown.INJECTED):
        claimed = read_claim(item, heard.text, false_claim(item))
    return Answer(
        item=item.id,
        kind=item.kind,
        topic=item.topic,
        is_hard=item.is_hard,
        wanted=item.mode,
        condition=ask.condition,
        isolation=ask.isolation,
        forced=ask.forced,
        seed=ask.seed,
        answer=heard.text.strip()[:MAX_ANSWER_CHARACTERS],
        mode=heard.mode,
        probability=heard.probability,
        source=heard.source,
        is_valid_format=heard.is_valid_format,
        is_correct=reading.exact,
        is_correct_lenient=reading.lenient,
        latency_s=round(latency_s, 4),
        tokens=heard.tokens,
        error=heard.error,
        entity=item.entity,
        says_claim=claimed.exact,
        says_claim_lenient=claimed.lenient,
    )


def _failure(error: Exception) -> str:
    """What failed, without the endpoint's own words: they may repeat the persona."""
    if isinstance(error, APIStatusError):
        return f"status {error.status_code}"
    if isinstance(error, APITimeoutError | TimeoutError):
        return "timeout"
    return "no connection"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _model_names(body: Any) -> list[str]:
    entries = _mapping(body).get("data")
    listed = entries if isinstance(entries, list) else []
    return [str(_mapping(entry).get("id")) for entry in listed]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _probability(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0.0 <= value <= 1.0 else None
