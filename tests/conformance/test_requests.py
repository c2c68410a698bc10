"""What a request may hold: it reaches the engine, or is ours; nothing of the caller's leaks."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway

FORWARDED: dict[str, Any] = {
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "seed": 7,
    "logit_bias": {"5": 1.0},
    "temperature": 0.2,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "metadata": {"a": "b"},
    "reasoning_effort": "low",
    "top_k": 3,
    "a_field_of_tomorrow": {"x": [1, None]},
}
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
]
HISTORY: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be short."},
    {"role": "user", "content": PARTS},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "A pump."},
    {"role": "assistant", "content": "A pump.", "reasoning_content": "It is red."},
    {"role": "user", "content": "x" * 128_000},
]


@pytest.mark.parametrize("name", FORWARDED)
def test_fields_reach_the_engine(gateway: Gateway, script: Script, name: str) -> None:
    """Also those that nobody here knows."""
    assert chat(gateway.url, **{name: FORWARDED[name]}).status == 200
    assert sent(script)[name] == FORWARDED[name]


def test_nothing_is_said_where_nothing_was(gateway: Gateway, script: Script) -> None:
    """Null is no value, to OpenAI; the engine hears of none that the caller left out or null."""
    names = ("stop", "tools", "tool_choice", "response_format", "n", "seed", "logprobs", "x")
    assert chat(gateway.url, stream_options=None, **dict.fromkeys(names)).status == 200
    assert all(value is not None for value in sent(script).values())
    assert not {*names, "stream_options"} - {"logprobs"} & set(sent(script))


def test_history_parts_and_long_messages_arrive_as_they_were(
    gateway: Gateway, script: Script
) -> None:
    """Roles, parts, calls and results, earlier replies; 128,000 characters in one message."""
    assert call(gateway.url, "/v1/chat/completions", {"messages": HISTORY}).status == 200
    assert sent(script)["messages"] == HISTORY


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_have_a_mode_each(gateway: Gateway, script: Script, stream: bool) -> None:
    """In `personadual` of each choice, or of its first chunk."""
    answer = chat(gateway.url, n=3, stream=stream, personadual={"mode": "personalized"})
    told = (
        [event["personadual"]["mode"] for event in answer.events if "personadual" in event]
        if stream
        else [choice["personadual"]["mode"] for choice in answer.json["choices"]]
    )
    assert told == ["personalized"] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_that_is_not_wanted(gateway: Gateway, script: Script, stream: bool) -> None:
    """vLLM's own switch: obeyed here, since an engine that obeys it says no log-probabilities."""
    script.answer = "They like stew.\n\n<answer>Stew, then.</answer>"
    answer = chat(gateway.url, include_reasoning=False, stream=stream)
    assert b"They like" not in answer.body
    assert "include_reasoning" not in sent(script)
    extension = (answer.events[0] if stream else answer.json)["personadual"]
    assert extension["probability"] is not None


def test_the_engine_sees_our_key_and_no_header_of_the_callers(
    gateway: Gateway, fake: FakeEngine, script: Script
) -> None:
    headers = {"Authorization": "Bearer mine", "x-stainless-lang": "python", "Cookie": "a=b"}
    body = {"messages": [{"role": "user", "content": "x"}]}
    assert call(gateway.url, "/v1/chat/completions", body, headers=headers).status == 200
    seen = {name.lower() for name in fake.headers[-1]}
    assert seen <= {"host", "content-type", "content-length", "accept"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_json_under_another_name(gateway: Gateway, script: Script, kind: str) -> None:
    """`curl -d` names a form; what counts is what the body is."""
    body = b'{"messages": [{"role": "user", "content": "x"}]}'
    answer = call(gateway.url, "/v1/chat/completions", body, headers={"Content-Type": kind})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("wanted", [0, 3])
def test_the_prompt_is_not_shown_with_a_persona_in_it(
    gateway: Gateway, script: Script, wanted: int
) -> None:
    """`prompt_logprobs` spell it out; without a persona it is the caller's own text."""
    put_persona(gateway.url, "ada", "Okapi.")
    refused = chat(gateway.url, user="ada", prompt_logprobs=wanted)
    assert (refused.status, refused.json["error"]["param"]) == (400, "prompt_logprobs")
    assert not script.seen
    assert chat(gateway.url, prompt_logprobs=wanted).status == 200
    assert chat(gateway.url, user="ada", prompt_logprobs=None).status == 200
