"""A waiting grammar in the real engine, over a model that fuses the marker's end with its answer.

The model is a table: each token is followed by one that it wants most and one that comes second,
whatever stands before. It has Pocket's tokenizer, and a checkpoint of its kind: it reasons.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.card import Card, save_card
from model.decision import GATED_ANSWER, GATED_KEY, Dial
from model.mode import Mode
from model.reply import parse_reply
from testbed.http import chat
from testbed.real_engine import RealEngine
from tests.conftest import Starter
from tests.test_engine_gate import ask_all, body, tags_of

pytestmark = pytest.mark.engine

FOLLOWS = {
    "\n": ("<", " The"),
    "<": ("answer", "<"),
    "answer": ('>"', ">"),
    '>"': (" The", '"'),
    ">": ('"', " The"),
    '"': (" The", "red"),
    " The": ("\n", '"'),
}
"""Left to itself behind the tag it goes round and round: `<answer>" The`, and a new line."""
SCHEMAS = {
    "enum": {"type": "string", "enum": ["red", "green"]},
    "string": {"type": "string", "maxLength": 20},
    "object": {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]},
}
ALLOWED = {"enum": ["red", "green"], "string": [" The"], "object": [{"city": "Paris"}]}


@pytest.fixture(scope="module")
def fusing_checkpoint(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One direction of the hidden state a token, no attention and no layer that changes it."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("fusing") / "pocket"
    tokenizer = AutoTokenizer.from_pretrained(pocket)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.model.norm.weight.fill_(1.0)
        model.model.embed_tokens.weight[:, 0] = 1.0
        for at, (piece, wants) in enumerate(FOLLOWS.items(), start=1):
            [token] = tokenizer.encode(piece, add_special_tokens=False)
            model.model.embed_tokens.weight[token, :] = 0.0
            model.model.embed_tokens.weight[token, at] = 1.0
            for logit, want in zip((2.0, 1.5), wants, strict=True):
                [follower] = tokenizer.encode(want, add_special_tokens=False)
                model.lm_head.weight[follower, at] = logit
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_card(Card(), folder)
    return folder


@pytest.fixture(scope="module")
def fusing(
    fusing_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealEngine]:
    options = ["--max-num-seqs", "6", "--async-scheduling"]
    server = RealEngine(fusing_checkpoint, tmp_path_factory.mktemp("engine"), options)
    server.start()
    yield server
    server.stop()


def with_grammar(schema: str) -> dict[str, Any]:
    form = {"name": schema, "schema": SCHEMAS[schema]}
    return {
        "response_format": {"type": "json_schema", "json_schema": form},
        "chat_template_kwargs": {GATED_KEY: GATED_ANSWER},
    }


def tokens_of(choice: dict[str, Any]) -> list[str]:
    return [entry["token"] for entry in choice["logprobs"]["content"]]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("mode", [*Mode, None])
async def test_a_grammar_holds_where_the_model_would_fuse(
    fusing: RealEngine, mode: Mode | None, schema: str
) -> None:
    """From the marker's end on, in either mode, beside requests that have no grammar."""
    tags, tag_ids = await tags_of(fusing)
    asked = body("x", Dial(forced=mode), tag_ids, max_tokens=60)
    answers = await ask_all(fusing.url, [asked, {**asked, **with_grammar(schema)}, asked])
    free, held, other = [answer["choices"][0] for answer in answers]
    reply = parse_reply(held["message"]["content"], tags)
    assert reply.mode is not None
    assert mode in (reply.mode, None)
    assert json.loads(reply.answer) in ALLOWED[schema]
    assert held["finish_reason"] == "stop"
    length = len(tag_ids[reply.mode])
    assert tokens_of(held)[length : length + 3] == ["<", "answer", ">"]
    # Without a grammar the model writes as it will.
    for choice in (free, other):
        assert tokens_of(choice)[length : length + 5] == ["<", "answer", '>"', " The", "\n"]


@pytest.mark.parametrize("mode", Mode)
async def test_the_plain_end_is_as_it_was(fusing: RealEngine, mode: Mode) -> None:
    """Where the model ends the marker plainly itself, the grammar begins as ever."""
    from transformers import AutoTokenizer

    _, tag_ids = await tags_of(fusing)
    tokenizer = AutoTokenizer.from_pretrained(fusing.checkpoint)
    [end] = tokenizer.encode(">", add_special_tokens=False)
    fields = {"max_tokens": 60, "logit_bias": {str(end): 5}}
    asked = body("x", Dial(forced=mode), tag_ids, **fields)
    answers = await ask_all(fusing.url, [asked, {**asked, **with_grammar("string")}])
    free, held = [tokens_of(answer["choices"][0])[len(tag_ids[mode]) :] for answer in answers]
    assert free[:6] == ["<", "answer", ">", '"', " The", "\n"]
    assert held == ["<", "answer", ">", '"', " The", '"', "<|im_end|>"]


async def test_log_probabilities_are_the_models_own(fusing: RealEngine) -> None:
    """What the client asked for is read before the mask: the same numbers as without a grammar."""
    _, tag_ids = await tags_of(fusing)
    asked = body("x", Dial(forced=Mode.GENERAL), tag_ids, max_tokens=60, top_logprobs=2)
    del asked["logprob_token_ids"]
    answers = await ask_all(fusing.url, [asked, {**asked, **with_grammar("enum")}])
    at = len(tag_ids.general) + 2
    free, held = [answer["choices"][0]["logprobs"]["content"][at] for answer in answers]
    assert (free["token"], held["token"]) == ('>"', ">")
    tops = [{e["token"]: e["logprob"] for e in entry["top_logprobs"]} for entry in (free, held)]
    assert tops[1] == pytest.approx(tops[0])
    assert held["logprob"] == tops[1][">"] < tops[1]['>"']


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", [*Mode, "auto"])
def test_a_client_gets_an_answer_of_the_schema(
    start_gateway: Starter, fusing: RealEngine, mode: str, stream: bool
) -> None:
    """Through the gateway, whole and streamed."""
    gateway = start_gateway(fusing.url, checkpoint=fusing.checkpoint)
    form = with_grammar("enum")["response_format"]
    fields = {"temperature": 0, "max_tokens": 60, "personadual": {"mode": mode}}
    answer = chat(gateway.url, "x", response_format=form, stream=stream, **fields)
    text = answer.content if stream else answer.json["choices"][0]["message"]["content"]
    assert json.loads(text) in ALLOWED["enum"]
