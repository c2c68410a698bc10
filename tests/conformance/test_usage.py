"""Usage: what the engine counted, less nothing, and what of it opened the mode or was reasoning."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fake_engine import FakeEngine, Script
from testbed.http import chat
from tests.conftest import Gateway, Starter

# 6 tokens of the tag, 3 of reasoning, a marker, "Stew," " then.", a marker, the end.
REASONED, TOKENS = "They like stew.\n\n<answer>Stew, then.</answer>", 6 + 3 + 1 + 2 + 1 + 1


def usage_of(gateway: Gateway, *, stream: bool, **fields: Any) -> Any:
    if stream:
        options = {"include_usage": True}
        return chat(gateway.url, stream=True, stream_options=options, **fields).events[-1]["usage"]
    return chat(gateway.url, **fields).json["usage"]


@pytest.mark.parametrize("stream", [False, True])
def test_it_counts_all_and_tells_the_parts(gateway: Gateway, script: Script, stream: bool) -> None:
    script.answer = REASONED
    usage = usage_of(gateway, stream=stream)
    assert usage["completion_tokens"] == TOKENS
    assert usage["total_tokens"] == TOKENS + usage["prompt_tokens"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3, "tag_tokens": 6}


@pytest.mark.parametrize("stream", [False, True])
def test_tags_of_all_choices_and_both_lengths(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    """The personalised tag has 7 tokens in this vocabulary; without a tag there are none."""
    usage = usage_of(gateway, stream=stream, n=3, model="pocket-personalized")
    assert usage["completion_tokens_details"]["tag_tokens"] == 3 * 7
    script.untagged = True
    usage = usage_of(gateway, stream=stream)
    assert usage["completion_tokens_details"]["tag_tokens"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_zero_that_is_not_true_is_left_out(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    """An engine without our plug-in counts no reasoning; we do not repeat that there was none."""
    script.answer, script.has_plugin = REASONED, False
    details = usage_of(gateway, stream=stream)["completion_tokens_details"]
    assert details == {"tag_tokens": 6}


def test_an_engine_without_gate_is_passed_on(start_gateway: Starter, fake: FakeEngine) -> None:
    fake.reset().has_gate = False
    usage = usage_of(start_gateway(fake.url), stream=False)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


def test_a_limit_leaves_room_for_the_longer_tag(gateway: Gateway, script: Script) -> None:
    """Where the model decides: its tag may be the shorter one, here by one token, and the answer
    that much longer. A limit never cuts a tag."""
    answers = {}
    for mode, script.logprobs in (("general", (-0.1, -5.0)), ("personalized", (-5.0, -0.1))):
        answer = chat(gateway.url, max_tokens=1).json
        assert answer["personadual"]["mode"] == mode
        answers[mode] = answer["choices"][0]["message"]["content"]
    assert answers == {"general": "Cook a", "personalized": "Cook"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limits_count_what_the_caller_reads(gateway: Gateway, script: Script, name: str) -> None:
    """Both names, and the tag's tokens come on top."""
    answer = chat(gateway.url, model="pocket-general", **{name: 2}).json
    assert answer["choices"][0]["message"]["content"] == "Cook a"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 6 + 2
