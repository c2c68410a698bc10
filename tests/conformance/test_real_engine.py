"""The chosen points once more with the real vLLM behind the gateway: what a fake cannot promise."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel, SecretStr

from testbed.fake_engine import MODEL
from testbed.http import call, chat
from testbed.real_engine import RealEngine
from testbed.scripted_reply import TAG_TOKENS
from tests.conftest import Gateway, Starter

pytestmark = pytest.mark.engine

ASK = [{"role": "user", "content": "What is the capital of France?"}]
SHORT: dict[str, Any] = {"model": MODEL, "messages": ASK, "max_tokens": 12, "temperature": 0}
TAG_LENGTHS = {mode.value: len(tokens) for mode, tokens in TAG_TOKENS.items()}
TEXT = {"type": "text", "text": " weather?"}
NAMED = {"type": "function", "function": {"name": "weather"}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": SCHEMA}}


@pytest.fixture
def live(start_gateway: Starter, engine: RealEngine) -> Gateway:
    return start_gateway(engine.url, checkpoint=engine.checkpoint)


class City(BaseModel):
    city: str


def test_parse_with_a_pydantic_model(live: Gateway) -> None:
    asked = {**SHORT, "max_tokens": 60}
    parsed = live.client.chat.completions.parse(response_format=City, **asked)
    assert isinstance(parsed.choices[0].message.parsed, City)
    extension: Any = parsed
    assert extension.personadual["mode"] is not None


@pytest.mark.parametrize(
    ("choice", "mode"), [("required", "auto"), ("required", "general"), (NAMED, "personalized")]
)
def test_a_forced_call_has_a_mode(live: Gateway, choice: Any, mode: str) -> None:
    """The tag comes first and the call's grammar behind it: mode, probability, whole call."""
    asked = {**SHORT, "max_tokens": 60, "tools": [TOOL], "tool_choice": choice}
    extra = {"personadual": {"mode": mode}}
    whole: Any = live.client.chat.completions.create(extra_body=extra, **asked)
    with live.client.chat.completions.stream(extra_body=extra, **asked) as stream:
        first: Any = next(event.chunk for event in stream if event.type == "chunk")
        streamed: Any = stream.get_final_completion()
    for answer in (whole, streamed):
        message = answer.choices[0].message
        [made] = message.tool_calls
        assert made.function.name == "weather"
        assert json.loads(made.function.arguments)["city"] in ("Paris", "Oslo")
        assert not message.content
    assert first.personadual == whole.personadual
    assert 0 < whole.personadual["probability"] < 1
    assert mode in ("auto", whole.personadual["mode"])
    details = whole.usage.completion_tokens_details
    assert details.tag_tokens == TAG_LENGTHS[whole.personadual["mode"]]


def test_a_forced_call_in_strict_isolation(live: Gateway) -> None:
    """Its decision is taken first, and the call is made without the persona in the prompt."""
    fields = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60, "temperature": 0}
    strict = {"isolation": "strict", "persona": "Zelda lives in Oslo.", "threshold": 1}
    answer = chat(live.url, personadual=strict, **fields).json
    assert answer["personadual"]["persona"]["status"] == "withheld"
    assert answer["choices"][0]["message"]["tool_calls"]


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_choice_that_forces_nothing(live: Gateway, choice: str) -> None:
    answer: Any = live.client.chat.completions.create(tools=[TOOL], tool_choice=choice, **SHORT)
    assert answer.choices[0].message.content
    assert answer.personadual["mode"] is not None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("top", [None, 2])
def test_log_probabilities_spell_the_answer(live: Gateway, stream: bool, top: int | None) -> None:
    """vLLM's own entries, also where a character takes several tokens and a stop text is waited
    for; the end's entry and the tag's are not the caller's."""
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"const": "日本 🦊 é"}},
    }
    for fields in ({"max_tokens": 12}, {"max_tokens": 40, "response_format": form, "stop": ["@"]}):
        asked: dict[str, Any] = {"temperature": 0, "logprobs": True, **fields}
        if top is not None:
            asked["top_logprobs"] = top
        answer = chat(live.url, stream=stream, **asked)
        choices = (
            [event["choices"][0] for event in answer.events] if stream else answer.json["choices"]
        )
        entries = [x for c in choices if c["logprobs"] for x in c["logprobs"]["content"]]
        content = answer.content if stream else choices[0]["message"]["content"]
        assert content
        assert "".join(entry["token"] for entry in entries) == content


@pytest.mark.parametrize("stream", [False, True])
def test_usage(live: Gateway, stream: bool) -> None:
    """All choices' tags, and none of the text: 3 answers of exactly 5 tokens."""
    fields: dict[str, Any] = {"max_tokens": 5, "ignore_eos": True, "n": 3}
    if stream:
        options = {"include_usage": True}
        events = chat(live.url, stream=True, stream_options=options, **fields).events
        usage = events[-1]["usage"]
        modes = [event["personadual"]["mode"] for event in events if "personadual" in event]
        assert not events[-1]["choices"]
    else:
        answer = chat(live.url, **fields).json
        usage = answer["usage"]
        modes = [choice["personadual"]["mode"] for choice in answer["choices"]]
    tags = sum(TAG_LENGTHS[mode] for mode in modes)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0, "tag_tokens": tags}
    # Room is made for the longer tag before the mode is known.
    assert 3 * 5 <= usage["completion_tokens"] - tags <= 3 * 6


def test_a_seed_repeats(live: Gateway) -> None:
    asked = {**SHORT, "temperature": 1.0, "seed": 11}
    texts = [
        live.client.chat.completions.create(**asked).choices[0].message.content for _ in range(2)
    ]
    assert texts[0] == texts[1]


def test_history_of_earlier_replies(live: Gateway) -> None:
    """Replies go back as the client keeps them, nulls and all; roles, parts, calls, results."""
    first = live.client.chat.completions.create(**SHORT).choices[0].message
    assert isinstance(first, ChatCompletionMessage)
    made = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [
        {"role": "developer", "content": "Be short."},
        *ASK,
        first.model_dump(),
        {"role": "user", "content": [{"type": "text", "text": "And its"}, TEXT]},
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
    ]
    answer = call(live.url, "/v1/chat/completions", {**SHORT, "messages": history})
    assert answer.status == 200, answer.body
    assert answer.json["personadual"]["mode"] is not None


def test_128_000_characters(live: Gateway) -> None:
    """They arrive, and the engine says itself that they are too many for this model."""
    long = [{"role": "user", "content": "x" * 128_000}]
    with pytest.raises(openai.BadRequestError) as refused:
        live.client.chat.completions.create(model=MODEL, messages=long)  # type: ignore[arg-type]
    assert refused.value.code == "context_length_exceeded"


def test_langchain(live: Gateway) -> None:
    client = ChatOpenAI(
        model=MODEL, base_url=f"{live.url}/v1", api_key=SecretStr("-"), temperature=0, max_tokens=8
    )
    whole = client.invoke("What is the capital of France?")
    streamed = "".join(str(c.content) for c in client.stream("What is the capital of France?"))
    assert whole.content == streamed
    assert streamed
