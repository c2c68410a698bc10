"""Log-probability entries and the text of an answer: aligned for every way of cutting either."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.aligned import AlignedEntries
from model.mode import Tags
from model.reply import ReplyParser

G = Tags().general
TAG = [G[:1], G[1:8], G[8:]]
OPEN, CLOSE = ["\n\n<", "answer", ">"], ["</", "answer>"]
WORDS = ["a", " b", "\n", "é"]
TOKENS = [*TAG, *OPEN, *CLOSE, *WORDS, "<", "["]


def entry(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -1.0}


def shown(chunks: list[tuple[str, list[str]]], *, reasons: bool) -> tuple[str, list[str]]:
    """Answer and tokens of its entries, where each chunk brings some text and some entries."""
    parser, aligned = ReplyParser(Tags(), reasons=reasons), AlignedEntries()
    out: list[str] = []
    for place, (text, tokens) in enumerate(chunks):
        is_last = place + 1 == len(chunks)
        parser.feed(text)
        if is_last:
            parser.finish()
        aligned.add(text, [entry(token) for token in tokens], is_last=is_last)
        taken = aligned.take(parser.answer_spans, parser.certain_to, is_last=is_last)
        out += [str(one["token"]) for one in taken]
    return parser.reply.answer, out


@given(
    st.lists(st.sampled_from([*TAG, *OPEN, *CLOSE, *WORDS, "<", "["]), max_size=30),
    st.booleans(),
    st.data(),
)
def test_any_lag_of_the_text_gives_the_same_entries(
    tokens: list[str], reasons: bool, data: st.DataObject
) -> None:
    """Entries come with their token, its text some tokens later: the same is shown, in the end."""
    tokens = [*TAG, *tokens]
    at_once = shown([("".join(tokens), tokens)], reasons=reasons)
    chunks, held = [], ""
    for token in tokens:
        held += token
        cut = data.draw(st.integers(0, len(held)))
        chunks.append((held[:cut], [token]))
        held = held[cut:]
    assert shown([*chunks, (held, [])], reasons=reasons) == at_once


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.booleans())
def test_tokens_spell_the_answer(tokens: list[str], reasons: bool) -> None:
    """Where no marker shares a token with it, to the letter."""
    opening = ["r", *OPEN] if reasons else []
    closing = CLOSE if reasons else []
    every = [*TAG, *opening, *tokens, *closing, "<|im_end|>"]
    answer, spelled = shown([("".join(every[:-1]), every)], reasons=reasons)
    assert "".join(spelled) == answer


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("Hi there", ["Hi", "there"], ["Hi", "there"]),  # the space is lost when written alone
        ("a🦊b", ["a", "", "\ufffd", "🦊", "b"], ["a", "", "\ufffd", "🦊", "b"]),
        # Bytes that became no character, and go on as another token.
        ("Hi\ufffd hello you", ["Hi", "", " hello", " you"], ["Hi", "", " hello", " you"]),
        ("a\ufffd!", ["a", "", "\ufffd!"], ["a", "", "\ufffd!"]),
        ("ab", ["a", "<|tool|>", "b"], ["a", "b"]),  # a special token that the text leaves out
        ("ab", ["a", "b", "<|im_end|>"], ["a", "b"]),
        ("a.", ["a", ".</", "answer", ">"], ["a"]),  # the rest of a marker is not shown
    ],
)
def test_odd_tokens(text: str, tokens: list[str], expected: list[str]) -> None:
    raw = f"{G}{text}" + ("</answer>" if ".</" in tokens else "")
    every = [*TAG, *tokens]
    assert shown([(raw, every)], reasons=False) == (text, expected)


def test_what_is_not_certain_is_not_told() -> None:
    """Reasoning may become the answer, if its marker never comes: no entry goes out before."""
    parser, aligned = ReplyParser(Tags()), AlignedEntries()
    for token in (*TAG, "a", " b"):
        parser.feed(token)
        aligned.add(token, [entry(token)], is_last=False)
        assert not aligned.take(parser.answer_spans, parser.certain_to, is_last=False)
    parser.finish()
    aligned.add("", [], is_last=True)
    taken = aligned.take(parser.answer_spans, parser.certain_to, is_last=True)
    assert [one["token"] for one in taken] == ["a", " b"]
