"""Stop texts hold for the answer: reasoning and tag are not what a caller means to end."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.chat.stops import AnswerStops, before_stop
from model.card import Card, save_card
from model.mode import Tags
from model.reply import Part, ReplyParser
from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import chat
from tests.conftest import Gateway, Starter

REASONED = "They like stew.\nAnd rice.\n\n<answer>A stew.\nWith rice.</answer>"


def told(gateway: Gateway, *, stream: bool, **fields: Any) -> tuple[str, str, Any, Any]:
    """Reasoning, answer, why it ended, and by what."""
    answer = chat(gateway.url, stream=stream, **fields)
    assert answer.status == 200, answer.body
    if not stream:
        [choice] = answer.json["choices"]
        message = choice["message"]
        return (
            message["reasoning_content"] or "",
            message["content"],
            choice["finish_reason"],
            choice.get("stop_reason"),
        )
    choices = [choice for event in answer.events for choice in event["choices"]]
    deltas = [choice["delta"] for choice in choices]
    return (
        "".join(delta.get("reasoning_content") or "" for delta in deltas),
        "".join(delta.get("content") or "" for delta in deltas),
        choices[-1]["finish_reason"],
        choices[-1].get("stop_reason"),
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "answer", "by"),
    [
        ("\n", "A stew.", "\n"),
        (["rice", "stew"], "A ", "stew"),
        ([".\nWith", "nothing"], "A stew", ".\nWith"),
        ("They", "A stew.\nWith rice.", None),
        ("rice.!", "A stew.\nWith rice.", None),
    ],
)
def test_they_end_the_answer_alone(
    gateway: Gateway, script: Script, stream: bool, stop: Any, answer: str, by: str | None
) -> None:
    """The same at once and streamed; the engine is not told of them."""
    script.answer = REASONED
    reasoning, content, why, found = told(gateway, stream=stream, stop=stop)
    assert (reasoning, content) == ("They like stew.\nAnd rice.", answer)
    assert (why, found) == ("stop", by)
    assert not {"stop", "min_tokens"} & set(sent(script))


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_text_is_shown_where_that_is_asked_for(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    script.answer = REASONED
    fields = {"stop": ["stew"], "include_stop_str_in_output": True}
    assert told(gateway, stream=stream, **fields)[1] == "A stew"


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_end_with_the_answer(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    script.answer = REASONED
    answer = chat(gateway.url, stream=stream, stop=["\n"], logprobs=True)
    choices = (
        [choice for event in answer.events for choice in event["choices"]]
        if stream
        else answer.json["choices"]
    )
    entries = [e for c in choices if c.get("logprobs") for e in c["logprobs"]["content"]]
    assert "".join(entry["token"] for entry in entries) == "A stew."


@pytest.mark.parametrize("reasons", [True, False])
def test_a_checkpoint_that_does_not_reason_leaves_them_to_the_engine(
    start_gateway: Starter, fake: FakeEngine, script: Script, tmp_path: Path, reasons: bool
) -> None:
    """Which then writes no further."""
    save_card(Card(reasons=reasons), tmp_path)
    gateway = start_gateway(fake.url, checkpoint=str(tmp_path))
    chat(gateway.url, stop=["stew"])
    assert sent(script).get("stop") == (None if reasons else ["stew"])


@pytest.mark.parametrize(
    "stop", [["x"] * 17, "x" * 201, ["fine", "x" * 201]], ids=["many", "long", "one long"]
)
def test_too_many_or_too_long(gateway: Gateway, script: Script, stop: Any) -> None:
    refused = chat(gateway.url, stop=stop)
    assert (refused.status, refused.json["error"]["param"]) == (400, "stop")
    assert not script.seen


@pytest.mark.parametrize("stop", [7, [1], {"a": 1}])
def test_what_is_no_text_is_refused(gateway: Gateway, stop: Any) -> None:
    refused = chat(gateway.url, stop=stop)
    assert (refused.status, refused.json["error"]["param"]) == (400, "stop")


def test_an_empty_text_is_the_engines_to_refuse(gateway: Gateway, script: Script) -> None:
    chat(gateway.url, stop=[""])
    assert sent(script)["stop"] == [""]


@pytest.mark.parametrize(
    "texts", [["ab"], ["b\n", "\n\n"], ["aab", "ab"], ["</x"], ["x", "aaaa"], ["aab\n", "ab"]]
)
def test_any_cut_ends_at_the_same_place(texts: list[str]) -> None:
    answer = "aaab\n\nb</b>a</x>aaaab"
    whole = f"[General_mode]\nWhy.\n\n<answer>{answer}"
    for first in range(len(whole)):
        for second in range(first, len(whole), 5):
            parser, stops = ReplyParser(Tags()), AnswerStops(texts, shows_it=False)
            shown = ""
            for begin, end in pairwise((0, first, second, len(whole))):
                pieces = stops.cut(parser.feed(whole[begin:end]))
                shown += "".join(text for part, text in pieces if part is Part.ANSWER)
                [*spans], _ = stops.seen(parser.answer_spans, parser.certain_to)
                assert "".join(whole[begin:end] for begin, end in spans) == shown
            shown += "".join(text for _, text in stops.cut(parser.finish(), is_last=True))
            assert shown == before_stop(answer, texts)
