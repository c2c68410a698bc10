"""The fake is checked against the real thing: the same questions of both, through one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from model.decision import Dial
from model.errors import EngineRejected, EngineUnavailable
from model.mode import Mode, Tags
from model.vllm import VllmEngine
from testbed.fake_engine import MODEL, FakeEngine
from testbed.scripted_reply import TAG_IDS

ASK = [{"role": "user", "content": "What is the capital of France?"}]
RIVALS = list(TAG_IDS.rivals())


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
async def port(request: pytest.FixtureRequest, fake: FakeEngine) -> AsyncIterator[VllmEngine]:
    fake.reset()
    url = fake.url if request.param == "fake" else request.getfixturevalue("engine").url
    engine = VllmEngine(url)
    yield engine
    await engine.close()


def body(dial: Dial | None = None, **fields: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "messages": ASK, "max_tokens": 16, "temperature": 0, **fields}
    if dial is not None:
        asked |= {"vllm_xargs": dial.to_arguments(), "logprobs": True, "logprob_token_ids": RIVALS}
    return asked


async def whole(port: VllmEngine, asked: dict[str, Any]) -> Any:
    return orjson.loads(await port.complete(asked))


async def collect(port: VllmEngine, asked: dict[str, Any]) -> list[Any]:
    stream = await port.stream({**asked, "stream": True})
    return [orjson.loads(payload) async for payloads in stream.events() for payload in payloads]


async def test_it_is_there_and_has_the_gate(port: VllmEngine) -> None:
    await port.ping()
    [model] = await port.models()
    assert (model["id"], model["object"]) == (MODEL, "model")
    assert await port.has_gate()


async def test_tags_are_these_ids(port: VllmEngine) -> None:
    """The scripted ids are the checkpoint's own."""
    assert await port.tag_ids(Tags()) == TAG_IDS


@pytest.mark.parametrize("mode", Mode)
async def test_a_whole_answer(port: VllmEngine, mode: Mode) -> None:
    """Tag first; at the parting index the taken token and its rival, in this order."""
    answer = await whole(port, body(Dial(forced=mode)))
    [choice] = answer["choices"]
    assert choice["message"]["content"].startswith(Tags()[mode])
    entries = choice["logprobs"]["content"]
    names = ["General", "Personal"] if mode is Mode.GENERAL else ["Personal", "General"]
    tops = entries[TAG_IDS.parting]["top_logprobs"]
    assert [top["token"] for top in tops] == names
    assert entries[TAG_IDS.parting]["logprob"] == tops[0]["logprob"]
    assert answer["usage"]["completion_tokens"] >= len(TAG_IDS[mode])


async def test_a_mistake_that_is_found_late(port: VllmEngine) -> None:
    """A stream has said 200 by then; its error names the field all the same."""
    with pytest.raises(EngineRejected) as raised:
        await collect(port, body(logprobs=True, top_logprobs=50))
    assert (raised.value.status, raised.value.field) == (400, "logprobs")


async def test_a_stream(port: VllmEngine) -> None:
    """Role with empty content, one token a chunk with its log-probabilities, finish, usage."""
    chunks = await collect(port, body(Dial(), stream_options={"include_usage": True}))
    first, *middle, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"]
    for chunk in middle:
        assert chunk["object"] == "chat.completion.chunk"
        assert len(chunk["choices"][0]["logprobs"]["content"]) == 1
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in middle]
    assert finishes[-1] in ("stop", "length")
    assert set(finishes[:-1]) == {None}


async def test_stream_and_whole_answer_say_the_same(port: VllmEngine) -> None:
    answer = await whole(port, body(Dial()))
    chunks = await collect(port, body(Dial()))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"personadual_mode": "x"}, "personadual_mode"),
        ({"personadual_threshold": 2}, "personadual_threshold"),
        ({"personadual_decision": "no"}, "personadual_decision"),
    ],
)
async def test_wrong_gate_arguments_are_400_by_name(
    port: VllmEngine, arguments: dict[str, Any], param: str
) -> None:
    with pytest.raises(EngineRejected) as refused:
        await port.complete({**body(), "vllm_xargs": arguments})
    assert refused.value.status == 400
    assert refused.value.field == param


async def test_unknown_models_are_404(port: VllmEngine) -> None:
    with pytest.raises(EngineRejected) as refused:
        await port.complete(body(model="nope"))
    assert refused.value.status == 404


async def test_without_arguments_there_is_no_tag(port: VllmEngine) -> None:
    answer = await whole(port, body())
    assert not answer["choices"][0]["message"]["content"].startswith("[")
    assert answer["choices"][0]["logprobs"] is None


async def test_closing_a_stream_frees_the_engine(
    port: VllmEngine, request: pytest.FixtureRequest, fake: FakeEngine
) -> None:
    """Within a second, by the engine's own metric."""
    is_real = "real" in request.node.name
    fake.script.delay_s = 0.05
    fake.script.answer = "word " * 500
    running = request.getfixturevalue("engine").running if is_real else lambda: fake.running
    stream = await port.stream({**body(Dial(), max_tokens=1000, ignore_eos=True), "stream": True})
    async for _ in stream.events():
        break
    assert await asyncio.to_thread(running) == 1
    stream.close()
    await asyncio.sleep(1.0)
    assert await asyncio.to_thread(running) == 0


async def test_nobody_there() -> None:
    nobody = VllmEngine("http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable):
        await nobody.ping()
    await nobody.close()
