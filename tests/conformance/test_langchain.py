"""langchain-openai as a client."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from testbed.fake_engine import MODEL, Script, sent
from tests.conftest import Gateway


@pytest.fixture
def chat(gateway: Gateway) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL, base_url=f"{gateway.url}/v1", api_key=SecretStr("-"), max_retries=0
    )


def test_invoke_and_usage(chat: ChatOpenAI, script: Script) -> None:
    answer = chat.invoke("What now?")
    assert answer.content == "Cook a stew."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 10
    assert answer.response_metadata["finish_reason"] == "stop"


def test_stream_with_usage(chat: ChatOpenAI, script: Script) -> None:
    """It asks for the usage chunk when told to, and adds it up with the rest."""
    chunks = list(chat.stream("What now?", stream_usage=True))
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == "Cook a stew."
    assert whole.usage_metadata["output_tokens"] == 10
    assert whole.usage_metadata["output_token_details"]["reasoning"] == 0


async def test_async_stream(chat: ChatOpenAI, script: Script) -> None:
    texts = [str(chunk.content) async for chunk in chat.astream("What now?")]
    assert "".join(texts) == "Cook a stew."


class Weather(BaseModel):
    """The weather of a city."""

    city: str


def test_tools_and_their_history(chat: ChatOpenAI, script: Script) -> None:
    """A forced call comes parsed, and goes back as history with its result."""
    script.call = ("Weather", '{"city": "Paris"}')
    bound = chat.bind_tools([Weather], tool_choice="Weather")
    asked = HumanMessage("Weather in Paris?")
    answer = bound.invoke([asked])
    assert [tool["args"] for tool in answer.tool_calls] == [{"city": "Paris"}]
    history = [asked, answer, ToolMessage("Sunny", tool_call_id="call-1")]
    script.call = None
    assert chat.bind_tools([Weather]).invoke(history).content == "Cook a stew."
    roles = [message["role"] for message in sent(script)["messages"]]
    assert roles == ["user", "assistant", "tool"]


def test_structured_output(chat: ChatOpenAI, script: Script) -> None:
    script.answer = '{"city": "Paris"}'
    found = chat.with_structured_output(Weather, method="json_schema").invoke("Where?")
    assert found == Weather(city="Paris")


def test_history_of_earlier_replies(chat: ChatOpenAI, script: Script) -> None:
    """Its messages carry metadata of ours from earlier replies; it sends back what is a message."""
    first = chat.invoke("What now?")
    assert isinstance(first, AIMessage)
    chat.invoke([HumanMessage("What now?"), first, HumanMessage("And then?")])
    assert [message["content"] for message in sent(script)["messages"]] == [
        *("What now?", "Cook a stew.", "And then?")
    ]
