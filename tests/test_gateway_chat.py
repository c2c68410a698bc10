"""Chat through the gateway, over the fake engine: modes, personas, isolation, streams."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings import ReasoningField
from model.mode import Tags
from testbed.fake_engine import MODEL, FakeEngine, Script, sent
from testbed.http import call, chat
from tests.conftest import Gateway, Starter

P_LEANING = (-2.0, -1.0)  # log-probabilities: the model leans to personalised
LEAN = 0.7310585786300049  # sigmoid(1)


@pytest.mark.parametrize(
    ("fields", "logprobs", "mode", "source"),
    [
        ({}, P_LEANING, "personalized", "model"),
        ({}, (-1.0, -2.0), "general", "model"),
        ({"model": MODEL}, P_LEANING, "personalized", "model"),
        ({"model": f"{MODEL}-general"}, P_LEANING, "general", "request"),
        ({"model": f"{MODEL}-personalized"}, (-1.0, -2.0), "personalized", "request"),
        ({"personadual": {"mode": "general"}}, P_LEANING, "general", "request"),
        ({"personadual": {"mode": "auto"}}, P_LEANING, "personalized", "model"),
        ({"personadual": {"threshold": 0.8}}, P_LEANING, "general", "threshold"),
        ({"personadual": {"threshold": 0.7}}, P_LEANING, "personalized", "threshold"),
        ({"personadual": {"threshold": 0}}, (-1.0, -9.0), "personalized", "threshold"),
        ({"personadual": {"threshold": 1}}, (-9.0, -1.0), "general", "threshold"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_who_decides(
    gateway: Gateway,
    script: Script,
    fields: dict[str, Any],
    logprobs: tuple[float, float],
    mode: str,
    source: str,
    stream: bool,
) -> None:
    """Mode, probability and source, in the body and (not streaming) in the headers."""
    script.logprobs = logprobs
    answer = chat(gateway.url, stream=stream, **fields)
    assert answer.status == 200
    extension = (answer.events[0] if stream else answer.json)["personadual"]
    assert (extension["mode"], extension["source"]) == (mode, source)
    # general g, personalized p: probability exp(p) / (exp(g) + exp(p))
    assert extension["probability"] == pytest.approx(
        1 / (1 + 2.718281828459045 ** (logprobs[0] - logprobs[1]))
    )
    if not stream:
        assert answer.headers["x-personadual-mode"] == mode
        assert answer.headers["x-personadual-source"] == source
        assert answer.headers["x-personadual-persona"] == "absent"


@pytest.mark.parametrize("n", [1, 3])
def test_unary_reply_has_neither_tag_nor_what_we_asked_for_ourselves(
    gateway: Gateway, script: Script, n: int
) -> None:
    answer = chat(gateway.url, n=n, max_tokens=50).json
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Cook a stew."] * n
    assert all(choice["logprobs"] is None for choice in answer["choices"])
    assert ("personadual" in answer["choices"][0]) == (n > 1)


@pytest.mark.parametrize("n", [1, 3])
def test_stream_has_the_same_answer(gateway: Gateway, script: Script, n: int) -> None:
    """Role first with the extension, text, one finish per choice, and no tag in any piece."""
    events = chat(gateway.url, stream=True, n=n).events
    for index in range(n):
        own = [e for e in events if e["choices"] and e["choices"][0]["index"] == index]
        first, *rest = own
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert first["personadual"]["mode"] == "general"
        assert "".join(e["choices"][0]["delta"].get("content", "") for e in rest) == "Cook a stew."
        finishes = [e["choices"][0]["finish_reason"] for e in own]
        assert finishes == [None] * (len(own) - 1) + ["stop"]
        assert all("personadual" not in e and e["choices"][0]["logprobs"] is None for e in rest)
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1


@pytest.mark.parametrize("fields", [{}, {"n": 3}, {"logprobs": True}], ids=str)
def test_a_burst_of_events_has_the_same_answer(
    gateway: Gateway, script: Script, fields: dict[str, Any]
) -> None:
    """Texts that came in one read go out as one event, each with its choice; entries all stay."""
    script.answer = "They like stew.\n\n<answer>Stew, then, and soup.</answer>"
    script.delay_s = 0.005
    apart = chat(gateway.url, stream=True, **fields).events
    script.is_burst = True
    together = chat(gateway.url, stream=True, **fields).events
    assert told(together) == told(apart)
    assert (len(together) < len(apart)) == (fields == {})


def told(events: list[Any]) -> dict[int, Any]:
    """What a stream says of each choice, however it was cut."""
    choices = [event["choices"][0] for event in events]
    return {
        index: [
            *(
                "".join(c["delta"].get(key) or "" for c in own)
                for key in ("content", "reasoning_content")
            ),
            [entry for c in own for entry in (c["logprobs"] or {}).get("content", [])],
            [c["finish_reason"] for c in own if c["finish_reason"]],
        ]
        for index in {choice["index"] for choice in choices}
        if (own := [choice for choice in choices if choice["index"] == index])
    }


@pytest.mark.parametrize("wants", [True, False])
def test_usage_event_comes_only_when_asked_for(
    gateway: Gateway, script: Script, wants: bool
) -> None:
    """We always ask the engine, for our metrics; some clients crash on `choices: []`."""
    fields = {"stream_options": {"include_usage": True}} if wants else {}
    events = chat(gateway.url, stream=True, **fields).events
    assert sent(script)["stream_options"]["include_usage"] is True
    assert [bool(event["choices"]) for event in events].count(False) == wants
    assert ("usage" in events[-1]) == wants


def test_reasoning_goes_to_its_own_field(
    start_gateway: Starter, fake: FakeEngine, tmp_path: Any
) -> None:
    """By default `reasoning_content`; a setting chooses vLLM's name, both or none."""
    script = fake.reset()
    script.answer = "They like stew.\n\n<answer>Stew, then.</answer>"
    expected = {"reasoning_content": 1, "reasoning": 2, "both": 3, "off": 0}
    for field in ReasoningField:
        gateway = start_gateway(fake.url, reasoning_field=field)
        message = chat(gateway.url).json["choices"][0]["message"]
        assert message["content"] == "Stew, then."
        flags = (message.get("reasoning_content") is not None) + 2 * (
            message.get("reasoning") is not None
        )
        assert flags == expected[field]
        streamed = chat(gateway.url, stream=True)
        assert streamed.content == "Stew, then."
        deltas = [e["choices"][0]["delta"] for e in streamed.events]
        for name in ("reasoning_content", "reasoning"):
            text = "".join(delta.get(name, "") for delta in deltas)
            assert text == ("They like stew." if name in message else "")


def test_parameters_pass_through(gateway: Gateway, script: Script) -> None:
    """What vLLM takes reaches it; what is ours, or names the user, does not."""
    fields = {
        "temperature": 0.3,
        "seed": 7,
        "logit_bias": {"5": 1.0},
        "top_k": 3,
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "priority": 2,
    }
    chat(gateway.url, user="ada", safety_identifier="ada", max_tokens=9, **fields)
    body = sent(script)
    assert {name: body[name] for name in fields} == fields
    assert not {"user", "safety_identifier", "personadual"} & set(body)
    # The tag's tokens (at most 7) come on top.
    assert body["max_tokens"] == 9 + 7
    assert body["chat_template_kwargs"] == {"personadual_gated": "answer"}
    assert body["cache_salt"]


@pytest.mark.parametrize("stream", [False, True])
def test_callers_own_logprobs_start_behind_the_tag(
    gateway: Gateway, script: Script, stream: bool
) -> None:
    """As many entries as answer tokens, and none of the pair that we asked for."""
    answer = chat(gateway.url, stream=stream, logprobs=True)
    choices = [e["choices"][0] for e in answer.events] if stream else [answer.json["choices"][0]]
    entries = [x for c in choices if c["logprobs"] for x in c["logprobs"]["content"]]
    assert [entry["token"] for entry in entries] == ["Cook", " a", " stew."]
    assert all(entry["top_logprobs"] == [] for entry in entries)


def test_callers_top_logprobs_cost_a_probe(gateway: Gateway, script: Script) -> None:
    """vLLM gives the top ones or those of chosen ids, so the decision is taken first."""
    answer = chat(gateway.url, logprobs=True, top_logprobs=1).json
    probe, asked = script.seen
    assert "logprob_token_ids" in probe
    assert "logprob_token_ids" not in asked
    entries = answer["choices"][0]["logprobs"]["content"]
    assert [len(entry["top_logprobs"]) for entry in entries] == [1, 1, 1]
    assert answer["personadual"]["probability"] == pytest.approx(1 - LEAN)
    assert answer["personadual"]["source"] == "model"


def test_forced_with_top_logprobs_has_the_right_probability(
    gateway: Gateway, script: Script
) -> None:
    """Two top log-probabilities are not the two rivals."""
    fields = {"logprobs": True, "top_logprobs": 2, "model": f"{MODEL}-personalized"}
    extension = chat(gateway.url, **fields).json["personadual"]
    assert (extension["mode"], extension["source"]) == ("personalized", "request")
    assert extension["probability"] == pytest.approx(1 - LEAN)


@pytest.mark.parametrize("stream", [False, True])
def test_untagged_reply_is_not_dressed_up(gateway: Gateway, script: Script, stream: bool) -> None:
    """An engine that opened with no tag took no mode: null, and counted."""
    script.untagged = True
    answer = chat(gateway.url, stream=stream)
    extension = (answer.events[0] if stream else answer.json)["personadual"]
    assert (extension["mode"], extension["probability"]) == (None, None)
    assert extension["source"] == "fallback"
    assert "x-personadual-mode" not in answer.headers
    assert "personadual_untagged_replies_total 1.0" in call(gateway.url, "/metrics").body.decode()


def test_an_engine_without_gate_is_named(start_gateway: Starter, fake: FakeEngine) -> None:
    """Ready says so; auto answers without a mode; what needs the gate is 503."""
    fake.reset().has_gate = False
    gateway = start_gateway(fake.url)
    ready = call(gateway.url, "/health/ready")
    assert ready.status == 503
    assert "gate" in ready.json["checks"]["gate"]
    assert chat(gateway.url).json["personadual"]["mode"] is None
    assert "vllm_xargs" not in sent(fake.script)
    assert chat(gateway.url, personadual={"mode": "general"}).status == 503
    assert chat(gateway.url, personadual={"isolation": "strict"}).status == 503


def test_a_gate_that_is_missing_is_said_once_per_change(
    start_gateway: Starter, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Readiness looks every few seconds, and a log with a line each time tells nothing."""
    script = fake.reset()
    gateway = start_gateway(fake.url)

    def said(has_gate: bool) -> list[str]:
        caplog.clear()
        script.has_gate = has_gate
        for _ in range(3):
            call(gateway.url, "/health/ready")
        return [record.getMessage() for record in caplog.records if "gate" in record.getMessage()]

    for _ in range(2):
        assert [line[:15] for line in said(False)] == ["the engine has "]
        assert said(False) == []
        assert [line[-5:] for line in said(True)] == ["again"]


def test_mode_endpoint(gateway: Gateway, script: Script) -> None:
    """The decision alone, in the shape of the Decisions API, by the SDK's own type."""
    from openai.types import Decision

    script.logprobs = P_LEANING
    decision = gateway.client.post(
        "/mode", body={"messages": [{"role": "user", "content": "x"}]}, cast_to=Decision
    )
    [answer] = decision.answers
    assert answer.type == "choice"
    assert answer.choice == "personalized"
    assert [p.probability for p in answer.probabilities] == pytest.approx([1 - LEAN, LEAN])
    # probability times the mass on both tags: e^-0.5 for the shared token, e^-1 + e^-2 for the pair
    assert answer.confidence == pytest.approx(LEAN * 0.60653066 * (0.36787944 + 0.13533528))
    assert sent(script)["max_tokens"] == 2
    assert decision.usage.total_tokens == 12


def test_models(gateway: Gateway, script: Script) -> None:
    """The model and its two aliases; one by one too."""
    listed = gateway.client.models.list().data
    assert [model.id for model in listed] == [MODEL, f"{MODEL}-general", f"{MODEL}-personalized"]
    assert gateway.client.models.retrieve(f"{MODEL}-general").id == f"{MODEL}-general"
    assert call(gateway.url, "/v1/models/nope").status == 404


def test_the_tag_never_shows_in_any_split(gateway: Gateway, script: Script) -> None:
    """Also where the model repeats tags in its answer."""
    tags = Tags()
    script.answer = f"a {tags.general}b {tags.personalized.strip()}c"
    for stream in (False, True):
        answer = chat(gateway.url, stream=stream)
        text = answer.content if stream else answer.json["choices"][0]["message"]["content"]
        assert "_mode" not in text
