"""litellm as a client, by its `hosted_vllm` and `openai` routes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from testbed.fake_engine import MODEL, Script
from tests.conftest import Gateway

# Else its import asks a server far away for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm")
pytestmark = pytest.mark.filterwarnings("ignore")
ASK = [{"role": "user", "content": "What now?"}]
REASONED = "They like stew.\n\n<answer>Stew, then.</answer>"


@pytest.fixture(params=["openai", "hosted_vllm"])
def route(gateway: Gateway, request: pytest.FixtureRequest) -> dict[str, Any]:
    litellm.suppress_debug_info = True
    base = f"{gateway.url}/v1"
    model = f"{request.param}/{MODEL}"
    return {"model": model, "api_base": base, "api_key": "-", "num_retries": 0, "max_retries": 0}


def test_whole_and_streamed(route: dict[str, Any], script: Script) -> None:
    """Content, reasoning and usage, by either way."""
    script.answer = REASONED
    whole = litellm.completion(messages=ASK, **route)
    message = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("Stew, then.", "They like stew.")
    # "They", " like", " stew." of reasoning, and the six tokens of the tag.
    details = whole.usage.completion_tokens_details
    assert (details.reasoning_tokens, details.tag_tokens) == (3, 6)
    chunks = list(
        litellm.completion(
            messages=ASK, stream=True, stream_options={"include_usage": True}, **route
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Stew, then."
    assert chunks[-1].usage.prompt_tokens == 10


def test_its_error_classes(route: dict[str, Any], script: Script) -> None:
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=ASK, top_p=7.0, **route)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(messages=ASK, **{**route, "model": f"{route['model']}-x"})


def test_a_forced_call(route: dict[str, Any], script: Script) -> None:
    script.call = ("weather", '{"city": "Paris"}')
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answer = litellm.completion(messages=ASK, tools=[tool], tool_choice="required", **route)
    [made] = answer.choices[0].message.tool_calls
    assert (made.function.name, made.function.arguments) == script.call
