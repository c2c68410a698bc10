"""Decoding the engine's answers: what is cut away was not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat import wire

TRICKY = [
    '}]},{"token":',
    '}]}]},"finish_reason":',
    '"logprobs":{"content":[',
    "\\",
    '"',
    "]}",
    "é🦊",
]
tokens = st.lists(st.one_of(st.sampled_from(TRICKY), st.text(max_size=5)), min_size=1, max_size=8)


def answer(choices: list[list[str]]) -> bytes:
    """As vLLM writes one: each token with itself and a rival as candidates."""

    def top(token: str) -> dict[str, Any]:
        return {"token": token, "logprob": -1.0, "bytes": list(token.encode("utf-8", "replace"))}

    def choice(index: int, texts: list[str]) -> dict[str, Any]:
        entries = [{**top(t), "top_logprobs": [top(t), top("x")]} for t in texts]
        message = {"role": "assistant", "content": "".join(texts)}
        logprobs = {"content": entries} if texts else None
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "stop"}

    content = {
        "id": "1",
        "created": 1,
        "model": "m",
        "choices": [choice(*c) for c in enumerate(choices)],
    }
    return orjson.dumps(content)


@given(st.lists(tokens, min_size=1, max_size=3), st.integers(1, 4))
def test_the_first_entries_and_all_else_stay(choices: list[list[str]], keep: int) -> None:
    """Whatever the tokens are, also those that look like the marks."""
    raw = answer(choices)
    whole, cut = orjson.loads(raw), orjson.loads(wire.cut_entries(raw, keep))
    for choice in whole["choices"]:
        choice["logprobs"]["content"] = choice["logprobs"]["content"][:keep]
    assert cut == whole


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        answer([[]]),
        orjson.dumps(orjson.loads(answer([["a"] * 5])), option=orjson.OPT_INDENT_2),
    ],
)
def test_what_is_written_otherwise_is_left_alone(raw: bytes) -> None:
    assert wire.cut_entries(raw, 2) == raw


def test_most_of_an_answer_is_cut() -> None:
    raw = answer([["word"] * 500])
    assert len(wire.cut_entries(raw, 2)) < len(raw) / 20


BEGUN = b'{"id":"c","created":1,"model":"m","choices":[{"index":0,"%b":{"tool_calls":['
UNREADABLE = {
    "not UTF-8": b'"\xff"',
    "half a character": b'"\\ud83e"',
    "nested without end": b"[" * 200_000,
    "a number without end": b"1e999",
    "no number": b"NaN",
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("decode", [wire.decode_chunk, wire.decode_text_chunk])
def test_what_cannot_be_read_is_told_in_one_way(name: str, decode: Callable[[bytes], Any]) -> None:
    """None of it is a bug of ours, so that none may end as one."""
    with pytest.raises(wire.UNREADABLE):
        decode(BEGUN % b"delta" + UNREADABLE[name] + b"]}}]}")
    with pytest.raises(wire.UNREADABLE):
        wire.decode_completion(BEGUN % b"message" + UNREADABLE[name] + b"]}}]}")
