"""Isolation through the gateway: shared keeps the persona in context, strict keeps it out."""

from __future__ import annotations

import json

import pytest

from testbed.fake_engine import MODEL, FakeEngine, Script
from testbed.http import chat, put_persona
from testbed.scripted_reply import TAG_IDS
from tests.conftest import Gateway, wait_until

SECRET = "Ada loves purple okapis"
P_LEANING = (-2.0, -1.0)  # log-probabilities: the model leans to personalised
LEAN = 0.7310585786300049  # sigmoid(1)


@pytest.mark.parametrize("stream", [False, True])
def test_strict_general_never_sends_the_persona(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    """The prompt whose text the user gets is that of a user without persona, byte for byte."""
    put_persona(gateway.url, "ada", SECRET)
    answer = chat(gateway.url, stream=stream, user="ada", personadual={"isolation": "strict"})
    first, asked = script.seen
    assert SECRET in json.dumps(first["messages"])
    assert stream or first["max_tokens"] == TAG_IDS.parting + 1
    assert SECRET not in json.dumps(asked)
    assert asked["vllm_xargs"] == {"personadual_mode": "general"}
    extension = (answer.events[0] if stream else answer.json)["personadual"]
    assert extension["persona"] == {"id": "ada", "version": 1, "status": "withheld"}
    assert (extension["mode"], extension["source"]) == ("general", "model")
    assert extension["probability"] == pytest.approx(1 - LEAN)
    chat(gateway.url, stream=stream)
    assert script.seen[-1]["messages"] == asked["messages"]


def test_strict_without_a_decision_is_without_persona(gateway: Gateway, script: Script) -> None:
    """A probe that opened with no tag decides nothing: the persona stays out, no mode is named."""
    script.untagged = True
    put_persona(gateway.url, "ada", SECRET)
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = chat(
        gateway.url,
        user="ada",
        personadual={"isolation": "strict"},
        tools=tools,
        tool_choice="required",
    ).json
    probe, asked = script.seen
    assert (probe["tool_choice"], asked["tool_choice"]) == ("none", "required")
    assert SECRET not in json.dumps(asked)
    assert answer["personadual"]["mode"] is None
    assert answer["personadual"]["persona"]["status"] == "withheld"


def test_strict_forced_general_asks_once_and_without_persona(
    gateway: Gateway, script: Script
) -> None:
    put_persona(gateway.url, "ada", SECRET)
    chat(gateway.url, user="ada", personadual={"isolation": "strict", "mode": "general"})
    assert SECRET not in json.dumps(script.seen)
    assert len(script.seen) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_strict_personalized_has_the_persona(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    """A stream goes on as it was opened; a whole answer is asked for after its decision."""
    script.logprobs = P_LEANING
    put_persona(gateway.url, "ada", SECRET)
    answer = chat(gateway.url, user="ada", personadual={"isolation": "strict"}, stream=stream)
    assert len(script.seen) == (1 if stream else 2)
    assert SECRET in json.dumps(script.seen[-1]["messages"])
    extension = (answer.events[0] if stream else answer.json)["personadual"]
    assert extension["persona"]["status"] == "applied"
    assert extension["probability"] == pytest.approx(LEAN)
    text = answer.content if stream else answer.json["choices"][0]["message"]["content"]
    assert text == "Cook a stew."


def test_strict_drops_the_request_of_a_general_stream(
    gateway: Gateway, fake: FakeEngine, script: Script
) -> None:
    """The one with the persona is gone from the engine while the other answers."""
    put_persona(gateway.url, "ada", SECRET)
    script.delay_s, script.answer = 0.02, "word " * 100
    stream = gateway.client.chat.completions.create(
        model=MODEL,
        user="ada",
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        extra_body={"personadual": {"isolation": "strict"}},
    )
    with stream:
        next(iter(stream))
        wait_until(lambda: fake.running == 1, 1)
        assert len(script.seen) == 2


def test_shared_general_keeps_the_persona_in_context(gateway: Gateway, script: Script) -> None:
    """One pass, whatever the mode; the status says so."""
    put_persona(gateway.url, "ada", SECRET)
    answer = chat(gateway.url, user="ada").json
    assert len(script.seen) == 1
    assert SECRET in json.dumps(script.seen[-1]["messages"])
    assert answer["personadual"]["persona"]["status"] == "applied"
