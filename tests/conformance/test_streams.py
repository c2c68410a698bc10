"""The shape of streams: what clients take for granted of every chunk."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fake_engine import Script
from testbed.http import chat
from tests.conftest import Gateway

FINISHES = {"stop", "length", "tool_calls", "content_filter", "function_call"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
REASONED = "They like stew.\n\n<answer>Stew, then.</answer>"


def test_headers_and_framing(gateway: Gateway, script: Script) -> None:
    """Server-sent events that no proxy keeps: one `data:` line an event, `[DONE]` at the end."""
    answer = chat(gateway.url, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]
    *events, done, end = answer.body.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"max_tokens": 1},
        {"logprobs": True},
        {"stream_options": {"include_usage": True}},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required"},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_burst", [False, True])
def test_every_chunk(
    gateway: Gateway, script: Script, fields: dict[str, Any], is_burst: bool
) -> None:
    """One id, one creation time, one model; role first; one finish per choice, and it is last."""
    script.answer, script.is_burst = REASONED, is_burst
    script.call = ("weather", '{"city": "Paris"}') if "tools" in fields else None
    events = chat(gateway.url, stream=True, model="pocket-general", **fields).events
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {event["model"] for event in events} == {"pocket-general"}
    assert len({(event["id"], event["created"]) for event in events}) == 1
    assert all(len(event["choices"]) <= 1 for event in events)
    for index in range(fields.get("n", 1)):
        own = [
            e["choices"][0] for e in events if e["choices"] and e["choices"][0]["index"] == index
        ]
        assert own[0]["delta"]["role"] == "assistant"
        assert not any("role" in choice["delta"] for choice in own[1:])
        finishes = [choice["finish_reason"] for choice in own]
        assert finishes[:-1] == [None] * (len(own) - 1)
        assert finishes[-1] in FINISHES
    is_usage_wanted = "stream_options" in fields
    assert [bool(event["choices"]) for event in events].count(False) == is_usage_wanted


SAID = {
    "reasoned": REASONED,
    "no reasoning": "<answer>Stew, then.</answer>",
    "a marker that never comes": "They like stew. They cook.",
    "cut off in a marker": "They like stew.\n\n<ans",
    "a marker within": "I write <answer> soon\n\n<answer>Stew, then.</answer>",
    "nothing": "",
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("has_call", [False, True])
def test_a_stream_says_what_a_whole_answer_says(
    gateway: Gateway, script: Script, name: str, has_call: bool
) -> None:
    """Reasoning and answer alike; where no marker comes the text is both: a stream cannot know."""
    script.answer = SAID[name]
    script.call = ("weather", '{"city": "Paris"}') if has_call else None
    fields = {"tools": [TOOL]} if has_call else {}
    message = chat(gateway.url, **fields).json["choices"][0]["message"]
    deltas = [e["choices"][0]["delta"] for e in chat(gateway.url, stream=True, **fields).events]
    for key in ("content", "reasoning_content"):
        assert "".join(delta.get(key) or "" for delta in deltas) == (message[key] or ""), key
    if name == "a marker that never comes" and not has_call:
        assert message["content"] == message["reasoning_content"] == SAID[name]


def test_nothing_of_tag_or_marker_in_any_event(gateway: Gateway, script: Script) -> None:
    """Neither in text nor among log-probabilities, be it a half of one."""
    script.answer = REASONED
    body = chat(gateway.url, stream=True, logprobs=True).body.decode()
    for forbidden in ("_mode", "General", "answer>", "<|im_end|>"):
        assert forbidden not in body.replace("personadual", "")


def test_keep_alive_is_off_by_default(gateway: Gateway, script: Script) -> None:
    script.delay_s = 0.01
    assert b"\n:" not in chat(gateway.url, stream=True).body
