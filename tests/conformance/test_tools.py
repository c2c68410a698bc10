"""Calls of tools: chosen, forbidden or forced, behind the tag like every reply."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fake_engine import MODEL, Script, sent
from testbed.http import chat
from tests.conftest import Gateway

NAME, ARGUMENTS = "weather", '{"city": "Paris", "days": 2}'
TOOL = {"type": "function", "function": {"name": NAME, "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": NAME}}


@pytest.mark.parametrize("choice", ["auto", "required", NAMED, None], ids=str)
@pytest.mark.parametrize("answer", ["", "I look it up."])
def test_a_call_has_its_mode(gateway: Gateway, script: Script, choice: Any, answer: str) -> None:
    """Whole and streamed: the call as it was made, a decision with its probability, no tag."""
    script.call, script.answer = (NAME, ARGUMENTS), answer
    fields = {"tools": [TOOL], **({} if choice is None else {"tool_choice": choice})}
    is_forced = choice not in ("auto", None)
    whole = gateway.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "x"}], **fields
    )
    message: Any = whole.choices[0].message
    [made] = message.tool_calls
    assert (made.function.name, made.function.arguments) == (NAME, ARGUMENTS)
    # What the model says before a call is its reasoning: the call is the answer.
    said = None if is_forced or not answer else answer
    assert (message.content, message.reasoning_content) == (None, said)
    assert whole.choices[0].finish_reason == "tool_calls"
    with gateway.client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": "x"}], **fields
    ) as stream:
        first: Any = next(event.chunk for event in stream if event.type == "chunk")
        final: Any = stream.get_final_completion().choices[0].message
    [streamed] = final.tool_calls
    assert (streamed.function.name, streamed.function.arguments) == (NAME, ARGUMENTS)
    assert not final.content
    extension: Any = whole
    assert first.personadual == extension.personadual
    assert first.personadual["mode"] == "general"
    assert 0 < first.personadual["probability"] < 1


@pytest.mark.parametrize("choice", ["required", NAMED], ids=str)
def test_a_forced_call_begins_behind_the_tag(gateway: Gateway, script: Script, choice: Any) -> None:
    """The engine is told where the call's grammar begins, also where the answer has one too."""
    script.call = (NAME, ARGUMENTS)
    form = {"type": "json_object"}
    chat(gateway.url, tools=[TOOL], tool_choice=choice, response_format=form)
    assert sent(script)["chat_template_kwargs"] == {"personadual_gated": "call"}
    assert sent(script)["tool_choice"] == choice


@pytest.mark.parametrize("fields", [{"tool_choice": "none"}, {}], ids=str)
def test_no_call_where_none_is_wanted(
    gateway: Gateway, script: Script, fields: dict[str, Any]
) -> None:
    script.call = (NAME, ARGUMENTS)
    tools = {"tools": [TOOL]} if fields else {}
    message = chat(gateway.url, **tools, **fields).json["choices"][0]["message"]
    assert message["content"] == "Cook a stew."
    assert not message["tool_calls"]
