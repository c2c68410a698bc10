"""A grammar in the real engine: it holds for the answer, behind the tag."""

from __future__ import annotations

import json
import math

import pytest

from model.decision import Dial
from model.mode import Mode
from testbed.real_engine import RealEngine
from tests.test_engine_gate import QUESTIONS, ask_all, body, leaning, tags_of

pytestmark = pytest.mark.engine

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}


@pytest.mark.parametrize("mode", Mode)
async def test_a_grammar_holds_for_the_answer_only(engine: RealEngine, mode: Mode) -> None:
    """Tag first, then JSON of the schema; the probability is read before any mask."""
    tags, tag_ids = await tags_of(engine)
    fields = {"max_tokens": 80, "temperature": 0}
    free = body(QUESTIONS[0], Dial(forced=mode), tag_ids, **fields)
    held = {
        **free,
        "response_format": FORMAT,
        "chat_template_kwargs": {"personadual_gated": "answer"},
    }
    [plain], [formed] = await ask_all(engine.url, [free]), await ask_all(engine.url, [held])
    text = formed["choices"][0]["message"]["content"]
    assert text.startswith(tags[mode])
    assert set(json.loads(text.removeprefix(tags[mode]))) == {"city"}
    assert math.isclose(
        leaning(formed["choices"][0], mode, tag_ids),
        leaning(plain["choices"][0], mode, tag_ids),
        abs_tol=1e-3,
    )


async def test_a_grammar_without_gate_begins_at_once(engine: RealEngine) -> None:
    _, tag_ids = await tags_of(engine)
    asked = body(QUESTIONS[0], None, tag_ids, max_tokens=80, response_format=FORMAT)
    [answer] = await ask_all(engine.url, [asked])
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"city"}
