"""The gate inside the real vLLM on a CPU: mixed requests, waiting requests, both kinds of tags.

Two engines: async scheduling with the six- and seven-token tags, and synchronous scheduling with
tags that are single added tokens. Without the plug-in a third one says what is to stay the same.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from model.card import Card, load_card, save_card
from model.decision import Dial
from model.errors import EngineRejected
from model.mode import Mode, TagIds, Tags
from model.prompt import render
from model.vllm import VllmEngine
from testbed.real_engine import RealEngine

pytestmark = pytest.mark.engine

QUESTIONS = [
    "What is the capital of France?",
    "Recommend a dinner for me.",
    "How many legs has a spider?",
    "What should I read next?",
]
DIALS: list[Dial | None] = [
    Dial(),
    Dial(forced=Mode.GENERAL),
    Dial(forced=Mode.PERSONALIZED),
    Dial(threshold=0),
    Dial(threshold=0.5),
    Dial(threshold=1),
    Dial(sample=True),
    None,
]
SINGLE_TAGS = Tags("<|general|>", "<|personalized|>")


@pytest.fixture(scope="module")
def single_checkpoint(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pocket with each tag as one added token, whose rows in the embedding copy its plain words."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("single") / "pocket"
    tokenizer = AutoTokenizer.from_pretrained(pocket)
    model = AutoModelForCausalLM.from_pretrained(pocket, dtype=torch.float32)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SINGLE_TAGS)})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        for tag, word in zip(SINGLE_TAGS, ("The", "I"), strict=True):
            rows[tokenizer.convert_tokens_to_ids(tag)] = rows[tokenizer.encode(word)[0]] * 0.9
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_card(replace(Card(), tags=SINGLE_TAGS, reasons=False), folder)
    return folder


@pytest.fixture(scope="module")
def single_engine(
    single_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealEngine]:
    options = ["--max-num-seqs", "5", "--no-async-scheduling"]
    options += ["--enable-chunked-prefill", "--max-num-batched-tokens", "64"]
    server = RealEngine(single_checkpoint, tmp_path_factory.mktemp("sync"), options)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def plain_engine(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The same server without our plug-ins."""
    server = RealEngine(
        pocket, tmp_path_factory.mktemp("plain"), ["--max-num-seqs", "6"], has_gate=False
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cuda_engine(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The CUDA build, whose default is Model Runner V2."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip(
            "no CUDA device: Model Runner V2 inside the engine is tested where there is one"
        )
    server = RealEngine(pocket, tmp_path_factory.mktemp("cuda"), ["--max-num-seqs", "6"])
    server.start()
    yield server
    server.stop()


SERVERS = {"split-async": "engine", "single-sync": "single_engine", "cuda": "cuda_engine"}


@pytest.fixture(params=["split-async", "single-sync", pytest.param("cuda", marks=pytest.mark.cuda)])
def server(request: pytest.FixtureRequest) -> RealEngine:
    engine: RealEngine = request.getfixturevalue(SERVERS[request.param])
    return engine


def body(question: str, dial: Dial | None, tag_ids: TagIds, **fields: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": "pocket",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 24,
        "temperature": 0,
        "skip_special_tokens": False,
        **fields,
    }
    if dial is not None:
        asked |= {
            "vllm_xargs": dial.to_arguments(),
            "logprobs": True,
            "logprob_token_ids": list(tag_ids.rivals()),
        }
    return asked


def opened(text: str, tags: Tags) -> list[Mode]:
    """The tags that stand at the text's beginning; also any that stand elsewhere."""
    return [mode for mode in Mode for _ in range(text.count(tags[mode].strip()))]


async def ask_all(url: str, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    engine = VllmEngine(url)
    try:
        return list(map(orjson.loads, await asyncio.gather(*map(engine.complete, bodies))))
    finally:
        await engine.close()


async def tags_of(server: RealEngine) -> tuple[Tags, TagIds]:
    card, _ = load_card(server.checkpoint)
    engine = VllmEngine(server.url)
    try:
        return card.tags, await engine.tag_ids(card.tags)
    finally:
        await engine.close()


def leaning(choice: dict[str, Any], mode: Mode, tag_ids: TagIds) -> float:
    """Log-odds of personalised mode, from what the engine reports."""
    taken, rival = choice["logprobs"]["content"][tag_ids.parting]["top_logprobs"]
    lead = taken["logprob"] - rival["logprob"]
    return float(lead if mode is Mode.PERSONALIZED else -lead)


async def test_32_mixed_requests(server: RealEngine) -> None:
    """All kinds at once, more than the batch holds: each gated reply opens with one right tag."""
    tags, tag_ids = await tags_of(server)
    kinds = [(q, d) for q, d in itertools.product(QUESTIONS, DIALS)]
    assert len(kinds) == 32
    answers = await ask_all(server.url, [body(q, d, tag_ids) for q, d in kinds])
    for (question, dial), answer in zip(kinds, answers, strict=True):
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        found = opened(text, tags)
        if dial is None:
            assert not found, (question, text)
            continue
        assert len(found) == 1, (question, dial, text)
        assert text.startswith(tags[found[0]])
        lead = leaning(choice, found[0], tag_ids)
        if dial.forced is not None or dial.threshold in (0, 1):
            is_personalized = dial.forced is Mode.PERSONALIZED or dial.threshold == 0
            assert (found[0] is Mode.PERSONALIZED) == is_personalized
        elif not dial.sample:
            assert (found[0] is Mode.PERSONALIZED) == (lead >= 0)


async def test_sampled_requests_keep_their_tags(server: RealEngine) -> None:
    """At a high temperature, with penalties, three choices each."""
    tags, tag_ids = await tags_of(server)
    fields = {
        "temperature": 1.5,
        "n": 3,
        "repetition_penalty": 1.3,
        "presence_penalty": 1.0,
        "top_p": 0.9,
    }
    bodies = [body(q, d, tag_ids, **fields) for q in QUESTIONS for d in DIALS[:3]]
    for asked, answer in zip(bodies, await ask_all(server.url, bodies), strict=True):
        assert len(answer["choices"]) == 3
        for choice in answer["choices"]:
            text = choice["message"]["content"]
            wanted = asked["vllm_xargs"]["personadual_mode"]
            modes = list(Mode) if wanted == "auto" else [Mode(wanted)]
            assert any(text.startswith(tags[mode]) for mode in modes), text


async def test_drawn_modes_differ_between_choices(engine: RealEngine) -> None:
    """30 draws at a probability near a third: both modes come up, the seed decides which."""
    tags, tag_ids = await tags_of(engine)
    asked = body(
        QUESTIONS[0], Dial(sample=True), tag_ids, n=30, seed=5, temperature=1, max_tokens=8
    )
    runs = [await ask_all(engine.url, [asked]) for _ in range(2)]
    modes = [
        [choice["message"]["content"].startswith(tags.personalized) for choice in run[0]["choices"]]
        for run in runs
    ]
    assert modes[0] == modes[1]
    assert 2 <= sum(modes[0]) <= 26


async def test_the_probability_is_the_models_own(server: RealEngine) -> None:
    """Softmax of the two raw log-probabilities by transformers, within 1e-3."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tags, tag_ids = await tags_of(server)
    tokenizer = AutoTokenizer.from_pretrained(server.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(server.checkpoint, dtype=torch.float32).eval()
    card, _ = load_card(server.checkpoint)
    for persona, question in itertools.product((None, "I am vegan."), QUESTIONS):
        messages = render(persona, [{"role": "user", "content": question}], card.prompt)
        [answer] = await ask_all(
            server.url, [{**body(question, Dial(), tag_ids), "messages": messages}]
        )
        choice = answer["choices"][0]
        mode = opened(choice["message"]["content"], tags)[0]
        reported = card.calibration.probability(leaning(choice, mode, tag_ids))
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        ids += tag_ids.general[: tag_ids.parting]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        expected = torch.softmax(logits[list(tag_ids.rivals())].double(), -1)[1].item()
        assert reported == pytest.approx(expected, abs=1e-3)
        assert (mode is Mode.PERSONALIZED) == (expected >= 0.5)


async def test_ungated_requests_are_as_without_the_plug_in(
    engine: RealEngine, plain_engine: RealEngine
) -> None:
    """Same text at temperature 0, alone and beside gated requests."""
    _, tag_ids = await tags_of(engine)
    bodies = [body(question, None, tag_ids) for question in QUESTIONS]
    beside = [body(question, Dial(), tag_ids) for question in QUESTIONS[:2]]
    expected = [(await ask_all(plain_engine.url, [asked]))[0] for asked in bodies]
    alone = [(await ask_all(engine.url, [asked]))[0] for asked in bodies]
    mixed = (await ask_all(engine.url, [*bodies, *beside]))[: len(bodies)]
    for answers in (alone, mixed):
        texts = [answer["choices"][0]["message"]["content"] for answer in answers]
        assert texts == [answer["choices"][0]["message"]["content"] for answer in expected]


async def test_a_server_without_plug_in_has_no_gate(plain_engine: RealEngine) -> None:
    engine = VllmEngine(plain_engine.url)
    assert not await engine.has_gate()
    await engine.close()


async def test_unknown_values_are_400_by_name(server: RealEngine) -> None:
    _, tag_ids = await tags_of(server)
    for arguments, name in (
        ({"personadual_mode": "x"}, "personadual_mode"),
        ({"personadual_threshold": 2}, "personadual_threshold"),
        ({"personadual_unknown": 1}, "personadual_unknown"),
    ):
        asked = {**body(QUESTIONS[0], None, tag_ids), "vllm_xargs": arguments}
        with pytest.raises(EngineRejected) as refused:
            await ask_all(server.url, [asked])
        assert refused.value.status == 400
        assert name in refused.value.message
