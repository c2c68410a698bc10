"""Log-probabilities: the caller's are those of the answer's tokens; ours never show."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.fake_engine import Script
from testbed.http import chat
from tests.conftest import Gateway

REASONED = "They like stew.\n\n<answer>Stew, then.</answer>"
# What the model says, and what its caller reads.
ANSWERS = {
    "plain": ("Cook a stew.", "Cook a stew."),
    "reasoned": (REASONED, "Stew, then."),
    "a marker that never comes": ("They like stew.", "They like stew."),
    "a marker within": (f"{REASONED[:-9]}<answer> now</answer>", "Stew, then. now"),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("top", [None, 2])
def test_entries_spell_the_answer(
    gateway: Gateway, script: Script, name: str, stream: bool, top: int | None
) -> None:
    """Token by token, to the letter: none of the tag, of reasoning, of markers or of the end."""
    script.answer, shown = ANSWERS[name]
    fields: dict[str, Any] = {"logprobs": True} | ({} if top is None else {"top_logprobs": top})
    answer = chat(gateway.url, stream=stream, **fields)
    choices = [e["choices"][0] for e in answer.events] if stream else [answer.json["choices"][0]]
    entries = [x for c in choices if c["logprobs"] for x in c["logprobs"]["content"]]
    content = answer.content if stream else choices[0]["message"]["content"]
    assert content == shown
    assert "".join(entry["token"] for entry in entries) == shown
    assert all(bool(entry["top_logprobs"]) == bool(top) for entry in entries)


@pytest.mark.parametrize("stream", [False, True])
def test_none_for_who_did_not_ask(gateway: Gateway, script: Script, stream: bool) -> None:
    assert b'"logprobs":{' not in chat(gateway.url, stream=stream).body
