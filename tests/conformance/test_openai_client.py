"""The official client against the gateway: what its users write, and what it makes of answers."""

from __future__ import annotations

import re
import threading
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from testbed.fake_engine import MODEL, Script, sent
from testbed.http import call
from tests.conftest import Gateway

ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What now?"}]}
REASONED = "They like stew.\n\n<answer>Stew, then.</answer>"


def scraped(gateway: Gateway, pattern: str) -> list[str]:
    return re.findall(pattern, call(gateway.url, "/metrics").body.decode())


def answered(gateway: Gateway) -> float:
    """How many chat requests the gateway has answered, well or not."""
    return sum(map(float, scraped(gateway, r'personadual_requests_total{route="chat",.*} (.+)')))


def test_whole_and_streamed(gateway: Gateway, script: Script) -> None:
    """The same text either way; the client keeps what is ours beside it."""
    script.answer = REASONED
    whole = gateway.client.chat.completions.create(**ASK)
    message: Any = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("Stew, then.", "They like stew.")
    assert whole.object == "chat.completion"
    chunks = list(gateway.client.chat.completions.create(stream=True, **ASK))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Stew, then."
    extensions: list[Any] = [whole, chunks[0]]
    assert [answer.personadual["mode"] for answer in extensions] == ["general", "general"]


async def test_async_whole_and_streamed(gateway: Gateway, script: Script) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="-") as client:
        whole = await client.chat.completions.create(**ASK)
        stream = await client.chat.completions.create(stream=True, **ASK)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert whole.choices[0].message.content == "".join(texts) == "Cook a stew."


def test_the_stream_helper_accumulates(gateway: Gateway, script: Script) -> None:
    """`chat.completions.stream` rebuilds the message, and checks each chunk's shape on the way."""
    script.answer = REASONED
    with gateway.client.chat.completions.stream(**ASK) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "Stew, then."
    assert final.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("base", ["/v1", "/v1/"])
def test_a_base_url_with_and_without_slash(gateway: Gateway, script: Script, base: str) -> None:
    client = OpenAI(base_url=gateway.url + base, api_key="-")
    assert client.models.list().data[0].id == MODEL
    assert client.chat.completions.create(**ASK).choices


def test_raw_response(gateway: Gateway, script: Script) -> None:
    """Headers: ours and the request id, which the client also shows as `_request_id`."""
    raw = gateway.client.chat.completions.with_raw_response.create(
        extra_headers={"x-request-id": "abc-7"}, **ASK
    )
    assert raw.headers["x-personadual-mode"] == "general"
    assert raw.request_id == raw.parse()._request_id == "abc-7"


class City(BaseModel):
    name: str
    people: int


def test_parse_with_a_pydantic_model(gateway: Gateway, script: Script) -> None:
    """The schema reaches the engine as a grammar for the answer; the client reads the object."""
    script.answer = '{"name": "Paris", "people": 2100000}'
    parsed = gateway.client.chat.completions.parse(response_format=City, **ASK)
    assert parsed.choices[0].message.parsed == City(name="Paris", people=2_100_000)
    assert sent(script)["response_format"]["json_schema"]["name"] == "City"
    assert sent(script)["chat_template_kwargs"] == {"personadual_gated": "answer"}


def test_a_marker_within_a_grammar_ends_nothing(gateway: Gateway, script: Script) -> None:
    """A model that wants to stop in a string writes the marker there: what comes is JSON still."""
    script.answer = 'A city.\n\n<answer>{"name": "Paris</answer>", "people": 2}'
    parsed = gateway.client.chat.completions.parse(response_format=City, **ASK)
    assert parsed.choices[0].message.parsed == City(name="Paris", people=2)
    text = gateway.client.chat.completions.create(response_format={"type": "text"}, **ASK)
    assert text.choices[0].message.content == '{"name": "Paris'


def test_extra_body_reaches_the_engine(gateway: Gateway, script: Script) -> None:
    """The client merges it at the top level; what is not ours goes on."""
    gateway.client.chat.completions.create(
        extra_body={"top_k": 5, "personadual": {"mode": "personalized"}}, **ASK
    )
    assert sent(script)["top_k"] == 5
    assert sent(script)["vllm_xargs"]["personadual_mode"] == "personalized"


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"temperature": -1}, openai.BadRequestError, "invalid_request"),
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"user": "x" * 17_000_000}, openai.APIStatusError, "body_too_large"),
    ],
)
def test_error_classes_of_what_the_caller_did(
    gateway: Gateway, script: Script, fields: dict[str, Any], kind: type, code: str
) -> None:
    """By class and stable code, with the id to look up; asked once, however many tries it has."""
    client = gateway.client.with_options(max_retries=2)
    before = answered(gateway)
    with pytest.raises(kind) as raised:
        client.chat.completions.create(**{**ASK, **fields})
    error: Any = raised.value
    assert error.code == code
    assert error.request_id.startswith("req-")
    assert error.response.headers["x-should-retry"] == "false"
    assert answered(gateway) == before + 1


@pytest.mark.parametrize(("status", "ours"), [(503, 503), (500, 502), (504, 504), (401, 502)])
def test_error_classes_of_what_the_engine_did(
    gateway: Gateway, script: Script, status: int, ours: int
) -> None:
    gateway.client.models.list()
    script.status = status
    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client.chat.completions.create(**ASK)
    assert raised.value.status_code == ours
    assert raised.value.request_id
    retried = raised.value.response.headers.get("x-should-retry")
    assert retried == ("false" if status == 401 else None)


def test_it_retries_what_may_pass(gateway: Gateway, script: Script) -> None:
    """503 with Retry-After: the client waits as long as it is told, and gets its answer."""
    gateway.client.models.list()
    script.status = 503

    def mend() -> None:
        script.status = 200

    timer = threading.Timer(0.5, mend)
    timer.start()
    answer = gateway.client.with_options(max_retries=1).chat.completions.create(**ASK)
    timer.join()
    assert answer.choices[0].message.content == "Cook a stew."


@pytest.mark.parametrize("is_told", [True, False])
def test_a_stream_that_fails_raises(gateway: Gateway, script: Script, is_told: bool) -> None:
    """Whether the engine says so or breaks off: an error event, and no finish that never was."""
    script.fail_after = 8
    script.error_told = {"message": "scripted failure", "code": 500} if is_told else None
    seen = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(gateway.client.chat.completions.create(stream=True, **ASK))
    assert raised.value.code == "engine_broken"
    assert seen
    assert all(chunk.choices[0].finish_reason is None for chunk in seen)


def test_side_traffic_leaves_no_trace(gateway: Gateway, script: Script) -> None:
    """Chat clients ask for titles on the same endpoint: no persona, and not among the decisions."""
    before = scraped(gateway, r"personadual_(?:mode|tokens|request_seconds)_.*")
    gateway.client.chat.completions.create(
        user="ada", extra_body={"personadual": {"persona_id": None}}, **ASK
    )
    assert scraped(gateway, r"personadual_(?:mode|tokens|request_seconds)_.*") == before
