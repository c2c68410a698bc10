"""Shadows: answers given again without the persona, what is compared, and what never is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.settings import Settings
from testbed.fake_engine import FakeEngine, Script
from testbed.http import chat, put_persona
from tests.conftest import Gateway, Starter, wait_until
from tests.shadows import PERSONA, ask, has_persona, outcomes, shadowed, without
from tests.test_metrics import scrape, value

__all__ = ["shadowed"]  # the fixture
P_LEANING = (-2.0, -1.0)  # log-probabilities: the model leans to personalised


@pytest.mark.parametrize("stream", [False, True])
def test_planted_interference_is_found(shadowed: Gateway, script: Script, stream: bool) -> None:
    """With the persona 7 of 20 answers name another option: exactly these are counted."""
    script.choose = lambda body: Script(
        answer="B" if has_persona(body) and "leaks" in json.dumps(body["messages"]) else "A. Paris"
    )
    for number in range(20):
        ask(shadowed, "leaks" if number < 7 else "does not", stream=stream)
        wait_until(lambda n=number: sum(outcomes(shadowed).values()) == n + 1)
    assert outcomes(shadowed) == {"general_different": 7, "general_same": 13}


def test_a_shadow_is_no_request_of_a_user(shadowed: Gateway, script: Script) -> None:
    """It is asked of the engine and counted nowhere else."""
    for stream in (False, True):
        ask(shadowed, stream=stream)
    wait_until(lambda: outcomes(shadowed) == {"general_same": 2})
    assert len(script.seen) == 4
    text = scrape(shadowed)
    decisions = 'personadual_mode_decisions_total{mode="general",persona="applied",source="model"}'
    assert value(text, decisions) == 2
    assert value(text, decisions.replace("applied", "withheld")) == 0
    assert value(text, 'personadual_requests_total{route="chat",status="200"}') == 2
    assert value(text, 'personadual_request_seconds_count{mode="general"}') == 2
    assert value(text, 'personadual_tokens_total{kind="completion",mode="general"}') == 2 * 10


@pytest.mark.parametrize("stream", [False, True])
def test_the_shadow_is_what_strict_isolation_asks(
    shadowed: Gateway, script: Script, stream: bool
) -> None:
    """General mode and no persona, with the user's own salt: byte for byte the same request."""
    fields = {"max_tokens": 50, "stop": ["END"], "seed": 3, "logprobs": True}
    ask(shadowed, stream=stream, **fields)
    wait_until(lambda: outcomes(shadowed) == {"general_same": 1})
    served, shadow = script.seen
    assert has_persona(served)
    assert not has_persona(shadow)
    strict = {"mode": "general", "isolation": "strict"}
    ask(shadowed, personadual=strict, **fields)
    wanted = script.seen[-1]
    for name in ("logprobs", "logprob_token_ids"):  # nobody reads them in a shadow
        del wanted[name]
    assert shadow == wanted
    assert shadow["cache_salt"] == served["cache_salt"]


@pytest.mark.parametrize("fields", [{"temperature": 0.7, "seed": 1}, {"temperature": None}])
def test_of_a_sampled_answer_both_sides_are_asked_at_temperature_0(
    shadowed: Gateway, script: Script, fields: dict[str, Any]
) -> None:
    """In the mode that was served: chance and the decision are held still on both sides."""
    script.logprobs = P_LEANING
    ask(shadowed, **fields)
    wait_until(lambda: outcomes(shadowed) == {"personalized_same": 1})
    served, again, shadow = script.seen
    assert served.get("temperature") == fields["temperature"]
    assert (again["temperature"], shadow["temperature"]) == (0, 0)
    assert (has_persona(again), has_persona(shadow)) == (True, False)
    modes = [body["vllm_xargs"]["personadual_mode"] for body in script.seen]
    assert modes == ["auto", "personalized", "general"]
    assert served["cache_salt"] == again["cache_salt"] == shadow["cache_salt"]


WORTH: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({}, {"general_different": 1}),
    ({"personadual": {"mode": "general"}}, {"general_different": 1}),
    ({"model": "pocket-personalized"}, {"personalized_different": 1}),
    ({"personadual": {"threshold": 0}}, {"personalized_different": 1}),
    ({"personadual": {"threshold": 0, "isolation": "strict"}}, {"personalized_different": 1}),
    ({"personadual": {"persona": PERSONA}}, {"general_different": 1}),
    ({"n": 2}, {"skipped": 1}),
    ({"max_tokens": 1, "temperature": 1}, {"general_different": 1}),
    # No persona was applied: there is nothing to compare with.
    ({"personadual": {"isolation": "strict"}}, {}),
    ({"personadual": {"isolation": "strict", "mode": "general"}}, {}),
    ({"personadual": {"persona_id": None}}, {}),
    ({"user": "nobody"}, {}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "wanted"), WORTH, ids=[str(fields) for fields, _ in WORTH])
def test_which_answers_get_a_shadow(
    shadowed: Gateway, script: Script, fields: dict[str, Any], wanted: dict[str, int], stream: bool
) -> None:
    """Those with a persona in their context, whoever chose the mode."""
    without(script, answer="Bake bread instead.")
    ask(shadowed, stream=stream, **fields)
    asked = len(script.seen)
    wait_until(lambda: outcomes(shadowed) == wanted)
    if not wanted or "skipped" in wanted:
        time.sleep(0.05)
        assert len(script.seen) == asked


def test_answers_without_text_or_mode_are_skipped(shadowed: Gateway, script: Script) -> None:
    """A call of a tool has no text; a reply without tag took no mode."""
    script.answer = ""
    ask(shadowed)
    script.answer, script.untagged = "x", True
    ask(shadowed)
    wait_until(lambda: outcomes(shadowed) == {"skipped": 2})


def test_an_engine_without_gate_is_left_alone(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    script.has_gate = False
    gateway = start_gateway(fake.url, shadow_rate=1.0)
    put_persona(gateway.url, "ada", PERSONA)
    ask(gateway)
    assert outcomes(gateway) == {"skipped": 1}


@pytest.mark.parametrize("has_texts", [False, True])
def test_the_log_has_texts_only_if_it_is_told_to(
    start_gateway: Starter, fake: FakeEngine, script: Script, tmp_path: Path, has_texts: bool
) -> None:
    """A line per comparison; persona, question and answers by setting, cut; never an id."""
    log = tmp_path / "shadow.jsonl"
    gateway = start_gateway(
        fake.url, shadow_rate=1.0, shadow_log=log, shadow_log_text=has_texts, isolation="shared"
    )
    put_persona(gateway.url, "ada", PERSONA)
    without(script, answer="Bake bread.")
    ask(gateway, "My question " + "x" * 5_000)
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    chat(gateway.url, user="ada", messages=[{"role": "user", "content": parts}])
    wait_until(lambda: outcomes(gateway) == {"general_different": 2})
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert first.pop("time").startswith("20")
    texts = {name: first.pop(name, None) for name in ("persona", "question", "answer", "shadow")}
    assert first == {
        "outcome": "general_different",
        "mode": "general",
        "source": "model",
        "probability": pytest.approx(0.2689414),
        "isolation": "shared",
        "similarity": 0.0,
        "is_asked_again": False,
    }
    assert second["is_asked_again"]
    if has_texts:
        question = ("My question " + "x" * 5_000)[:2_000]
        assert list(texts.values()) == [PERSONA, question, "Cook a stew.", "Bake bread."]
        assert second["question"] == "one\ntwo"
    else:
        assert set(texts.values()) == {None}
        for text in (PERSONA, "ada", "question", "stew", "bread"):
            assert text not in log.read_text()


def test_a_log_that_cannot_be_written_costs_no_comparison(
    start_gateway: Starter, fake: FakeEngine, script: Script, tmp_path: Path, caplog: Any
) -> None:
    """Said once, with the reason."""
    log = tmp_path / "shadow.jsonl"
    log.mkdir()
    gateway = start_gateway(fake.url, shadow_rate=1.0, shadow_log=log)
    put_persona(gateway.url, "ada", PERSONA)
    for count in (1, 2):
        ask(gateway)
        wait_until(lambda n=count: outcomes(gateway) == {"general_same": n})
    assert caplog.text.count("the shadow log cannot be written: Is a directory") == 1


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("shadow_rate", 1.1),
        ("shadow_rate", -0.1),
        ("shadow_concurrency", 0),
        ("shadow_busy_from", 0),
        ("shadow_similarity", 2),
        ("shadow_log_bytes", 10),
        ("shadow_log", "/nowhere/at/all.jsonl"),
    ],
)
def test_wrong_settings_are_named(setting: str, wrong: Any) -> None:
    with pytest.raises(ValidationError, match=setting):
        Settings(**{setting: wrong})
