"""Shadows: answers given again without the persona, what is compared, and what never is."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.chat.plan import Plan
from app.settings import Settings
from model.vllm import CHAT_PATH
from tests.conftest import Gateway, Starter, wait_until
from tests.fake_engine import FakeEngine, Script
from tests.http import chat, put_persona
from tests.test_metrics import scrape, value

PERSONA = "Ada loves purple okapis"
OUTCOMES = [
    *("general_same", "general_different", "personalized_same", "personalized_different"),
    *("dropped", "failed", "skipped"),
]
P_LEANING = (-2.0, -1.0)  # log-probabilities: the model leans to personalised


def outcomes(gateway: Gateway) -> dict[str, int]:
    """The counters that are not zero."""
    text = scrape(gateway)
    counts = {o: value(text, f'personadual_shadow_total{{outcome="{o}"}}') for o in OUTCOMES}
    return {outcome: int(count) for outcome, count in counts.items() if count}


def has_persona(body: dict[str, Any]) -> bool:
    return PERSONA in json.dumps(body["messages"])


def without(script: Script, **behaviour: Any) -> Script:
    """Script requests that have no persona; says how they behave, to be changed."""
    other = Script(**behaviour)
    script.choose = lambda body: script if has_persona(body) else other
    return other


@pytest.fixture
def shadowed(start_gateway: Starter, fake: FakeEngine, script: Script) -> Gateway:
    """A gateway in which every answer with a persona gets a shadow."""
    gateway = start_gateway(fake.url, shadow_rate=1.0)
    put_persona(gateway.url, "ada", PERSONA)
    return gateway


def ask(gateway: Gateway, content: str = "x", **fields: Any) -> Any:
    answer = chat(gateway.url, content, **{"user": "ada", "temperature": 0, **fields})
    assert answer.status == 200
    return answer


@contextmanager
def slow_stream(gateway: Gateway, fake: FakeEngine) -> Iterator[socket.socket]:
    """A caller without persona whose stream is under way, if the script is slow."""
    host, port = gateway.url.removeprefix("http://").split(":")
    raw = json.dumps({"messages": [{"role": "user", "content": "slow"}], "stream": True}).encode()
    before = fake.running
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        connection.sendall(head.encode() + raw)
        wait_until(lambda: fake.running > before)
        yield connection


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
    assert 'persona="withheld"' not in text
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


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_rate_is_a_share(
    start_gateway: Starter, fake: FakeEngine, script: Script, rate: float
) -> None:
    """Of 400 answers 120 are drawn at 0.3, give or take 5 standard deviations; none at 0."""
    gateway = start_gateway(fake.url, shadow_rate=rate, shadow_concurrency=1_000)
    put_persona(gateway.url, "ada", PERSONA)
    for _ in range(400):
        ask(gateway)
    deviation = (400 * rate * (1 - rate)) ** 0.5
    wait_until(lambda: len(script.seen) == 400 + sum(outcomes(gateway).values()))
    assert abs(sum(outcomes(gateway).values()) - 400 * rate) <= 5 * deviation


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_does_not_wait_for_its_shadow(
    shadowed: Gateway, script: Script, fake: FakeEngine, stream: bool
) -> None:
    """While a shadow is under way its request is over, and nothing of it is kept."""
    other = without(script, delay_s=0.3)
    ask(shadowed, stream=stream)
    wait_until(lambda: fake.running == 1)
    assert outcomes(shadowed) == {}
    assert 'personadual_requests_total{route="chat",status="200"} 1.0' in scrape(shadowed)
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Plan]
    other.delay_s = 0
    wait_until(lambda: outcomes(shadowed) == {"general_same": 1})


def test_no_more_at_once_than_allowed(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """What is over the number is dropped, and there is no queue in which it waits."""
    gateway = start_gateway(fake.url, shadow_rate=1.0, shadow_concurrency=2)
    put_persona(gateway.url, "ada", PERSONA)
    without(script, delay_s=0.1)
    for _ in range(7):
        ask(gateway)
    assert fake.running == 2
    assert outcomes(gateway) == {"dropped": 5}
    wait_until(lambda: outcomes(gateway) == {"dropped": 5, "general_same": 2})
    assert len(script.seen) == 9


def test_shadows_are_the_first_to_go_under_load(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """None begins while the gateway is busy, and one under way is given up."""
    gateway = start_gateway(fake.url, shadow_rate=1.0, shadow_busy_from=2)
    put_persona(gateway.url, "ada", PERSONA)
    without(script, delay_s=5)
    ask(gateway)
    wait_until(lambda: fake.running == 1)
    # One in flight and the scrape of metrics are two: the first shadow goes.
    with slow_stream(gateway, fake), slow_stream(gateway, fake):
        wait_until(lambda: fake.running == 2, 2)
        assert outcomes(gateway) == {"dropped": 1}
        ask(gateway)
        assert outcomes(gateway) == {"dropped": 2}
    wait_until(lambda: fake.running == 0)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_shadow_that_fails_is_counted_and_troubles_nobody(
    shadowed: Gateway, script: Script, caplog: Any, status: int
) -> None:
    without(script, status=status)
    ask(shadowed)
    wait_until(lambda: outcomes(shadowed) == {"failed": 1})
    ask(shadowed, personadual={"persona": PERSONA})
    assert "Traceback" not in caplog.text


def test_a_caller_who_leaves_leaves_no_shadow(
    shadowed: Gateway, fake: FakeEngine, script: Script
) -> None:
    """An answer that nobody read to its end is compared with nothing."""
    script.delay_s = 0.02
    script.answer = "word " * 50
    stream = shadowed.client.chat.completions.create(
        model="pocket",
        user="ada",
        temperature=0,
        messages=[{"role": "user", "content": "x"}],
        stream=True,
    )
    with stream:
        next(iter(stream))
    wait_until(lambda: fake.running == 0)
    time.sleep(0.1)
    assert len(script.seen) == 1
    assert outcomes(shadowed) == {}


def test_a_stream_that_breaks_leaves_no_shadow(shadowed: Gateway, script: Script) -> None:
    script.fail_after = 8
    ask(shadowed, stream=True)
    assert len(script.seen) == 1
    assert outcomes(shadowed) == {}


def test_shadows_end_with_the_gateway(shadowed: Gateway, fake: FakeEngine, script: Script) -> None:
    """At once, and the engine is free of them; they count as dropped."""
    without(script, delay_s=30)
    for _ in range(3):
        ask(shadowed)
    wait_until(lambda: fake.running == 3)
    begun = time.monotonic()
    shadowed.stop()
    assert time.monotonic() - begun < 3
    wait_until(lambda: fake.running == 0, 2)
    text = shadowed.app.state.parts.metrics.render().decode()
    assert value(text, 'personadual_shadow_total{outcome="dropped"}') == 3


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
