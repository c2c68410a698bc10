"""Tracing: a real OTLP receiver gets the spans of real requests; the engine hears of the trace."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.settings import Settings
from testbed.fake_engine import FakeEngine, Script
from testbed.http import put_persona
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.otlp_receiver import CLIENT, INTERNAL, SERVER, OtlpReceiver
from tests.shadows import outcomes
from tests.traced import (
    CONTEXT,
    PARENT,
    PERSONA,
    TRACE,
    ask,
    receiver,
    start_traced,
    traced,
    tree,
)

__all__ = ["receiver", "start_traced", "traced"]  # the fixtures
ROOT = Path(__file__).parents[1]


def test_a_request_is_a_tree_within_its_callers_trace(
    traced: Gateway, receiver: OtlpReceiver, fake: FakeEngine
) -> None:
    """Request, look-up and engine call; the engine is told of its own parent."""
    put_persona(traced.url, "ada", PERSONA)
    answer = ask(traced, CONTEXT, user="ada")
    root, (lookup, engine) = tree(receiver)
    assert {span.trace_id for span in (root, lookup, engine)} == {TRACE}
    assert (root.parent, root.kind) == (PARENT, SERVER)
    assert (lookup.name, lookup.kind) == ("persona lookup", INTERNAL)
    assert (engine.name, engine.kind) == ("chat pocket", CLIENT)
    decided = answer.json["personadual"]
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "personadual.request_id": answer.headers["x-request-id"],
        "personadual.mode": decided["mode"],
        "personadual.source": "model",
        "personadual.persona.status": "applied",
        "personadual.probability": decided["probability"],
    }
    assert lookup.attributes == {
        "personadual.persona.cached": False,
        "personadual.persona.found": True,
    }
    usage = answer.json["usage"]
    assert engine.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "pocket",
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
    }
    assert root.begun_ns <= lookup.begun_ns <= lookup.ended_ns <= engine.begun_ns
    assert engine.begun_ns < engine.ended_ns <= root.ended_ns
    told = fake.headers[-1]
    assert told["traceparent"] == f"00-{TRACE}-{engine.id}-01"
    assert told["tracestate"] == CONTEXT["tracestate"]
    assert root.service["service.name"] == "personadual-gateway"
    assert root.service["service.version"]


def test_a_known_persona_says_so(traced: Gateway, receiver: OtlpReceiver) -> None:
    put_persona(traced.url, "ada", PERSONA)
    for is_cached in (False, True):
        receiver.raw.clear()
        ask(traced, user="ada")
        _root, (lookup, _engine) = tree(receiver)
        assert lookup.attributes["personadual.persona.cached"] is is_cached


def test_streams_of_any_length_make_the_same_spans(
    traced: Gateway, receiver: OtlpReceiver, script: Script
) -> None:
    """And their engine span tells when the tag and the first text had come."""
    script.delay_s = 0.002
    shapes = []
    for words in (2, 200):
        receiver.raw.clear()
        script.answer = "word " * words
        chunks = len(ask(traced, CONTEXT, user="ada", stream=True).events)
        assert chunks > words / 2  # those that come together are handed on together
        root, children = tree(receiver)
        engine = children[-1]
        taken_s = (engine.ended_ns - engine.begun_ns) / 1e9
        tag_s = engine.attributes["personadual.tag_s"]
        text_s = engine.attributes["personadual.first_text_s"]
        assert 0 < tag_s <= text_s <= taken_s
        assert engine.attributes["gen_ai.usage.output_tokens"] > words
        assert "personadual.dropped" not in engine.attributes
        assert not root.is_error
        shapes.append([(span.name, span.events) for span in (root, *children)])
        time.sleep(0.2)
        assert len(receiver.spans) == len(shapes[-1])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("stream", [False, True])
def test_strict_isolation_shows_both_calls(
    traced: Gateway, receiver: OtlpReceiver, stream: bool
) -> None:
    """General: the first is given up as soon as the tag has parted, the second answers."""
    put_persona(traced.url, "ada", PERSONA)
    ask(traced, user="ada", stream=stream, personadual={"isolation": "strict"})
    root, (_lookup, first, second) = tree(receiver)
    assert root.attributes["personadual.persona.status"] == "withheld"
    assert first.attributes.get("personadual.dropped", False) is stream
    assert ("personadual.tag_s" in first.attributes) is stream
    assert "personadual.first_text_s" not in first.attributes
    assert "personadual.tag_s" not in second.attributes
    assert ("personadual.first_text_s" in second.attributes) is stream
    assert "gen_ai.usage.output_tokens" not in first.attributes
    assert second.attributes["gen_ai.usage.output_tokens"] > 0
    assert first.ended_ns <= second.begun_ns


def test_failures_are_told_by_kind(
    traced: Gateway, receiver: OtlpReceiver, script: Script, redis_server: RedisServer
) -> None:
    """An engine that fails, one that breaks off a stream, a request that is wrong."""
    script.status = 500
    assert ask(traced).status == 502
    root, (engine,) = tree(receiver)
    assert (root.is_error, root.attributes["error.type"]) == (True, "502")
    assert (engine.is_error, engine.attributes["error.type"]) == (True, "engine_broken")
    assert root.attributes["http.response.status_code"] == 502
    receiver.raw.clear()
    script.status, script.fail_after = 200, 8
    assert ask(traced, stream=True).status == 200
    root, (engine,) = tree(receiver)
    assert engine.attributes["error.type"] == root.attributes["error.type"] == "engine_broken"
    receiver.raw.clear()
    assert ask(traced, temperature="warm").status == 400
    root, children = tree(receiver)
    assert (children, root.is_error) == ([], False)
    assert root.attributes["http.response.status_code"] == 400


def test_a_caller_who_leaves_ends_the_trace(
    traced: Gateway, receiver: OtlpReceiver, script: Script, fake: FakeEngine
) -> None:
    import socket

    script.hang_after = 9
    body = b'{"messages": [{"role": "user", "content": "x"}], "stream": true}'
    host, port = traced.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        wait_until(lambda: fake.running == 1)
        time.sleep(0.3)
    root, (engine,) = tree(receiver)
    assert engine.attributes["personadual.dropped"] is True
    assert not engine.is_error
    assert not root.is_error


@pytest.mark.parametrize(
    "header", ["", "00-zz-zz-01", f"00-{'0' * 32}-{PARENT}-01", "okapi", f"00-{TRACE}", "\xff" * 55]
)
def test_a_context_that_is_none_begins_a_trace(
    traced: Gateway, receiver: OtlpReceiver, header: str
) -> None:
    assert ask(traced, {"traceparent": header}).status == 200
    root, _children = tree(receiver)
    assert root.parent == ""
    assert root.trace_id != TRACE


def test_a_trace_that_is_not_sampled_is_passed_on_and_sends_nothing(
    traced: Gateway, receiver: OtlpReceiver, fake: FakeEngine
) -> None:
    ask(traced, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    told = fake.headers[-1]["traceparent"]
    assert told.startswith(f"00-{TRACE}-")
    assert told.endswith("-00")
    ask(traced)
    tree(receiver)
    assert TRACE not in {span.trace_id for span in receiver.spans}


def test_the_samplers_own_variable_holds(receiver: OtlpReceiver, start_traced: Starter) -> None:
    gateway = start_traced(OTEL_TRACES_SAMPLER="always_off")
    assert ask(gateway).status == 200
    gateway.stop()
    assert receiver.raw == []


def test_shadows_stay_out_of_the_trace(
    receiver: OtlpReceiver, start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """They begin when the answer has ended: in its trace they would make it seem longer."""
    gateway = start_gateway(fake.url, shadow_rate=1.0)
    put_persona(gateway.url, "ada", PERSONA)
    ask(gateway, CONTEXT, user="ada")
    wait_until(lambda: bool(outcomes(gateway)))
    assert len(script.seen) == 3
    _root, children = tree(receiver)
    assert [span.name for span in children] == ["persona lookup", "chat pocket"]
    gateway.stop()
    assert sum(span.name == "chat pocket" for span in receiver.spans) == 1
    told = [headers.get("traceparent") for headers in fake.headers[-3:]]
    assert told[1:] == [None, None]


@pytest.mark.parametrize(
    ("traces", "environment", "is_on"),
    [
        ("auto", {}, False),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ("auto", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        (
            "auto",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
            False,
        ),
        ("on", {}, True),
        ("on", {"OTEL_SDK_DISABLED": "true"}, False),
        ("off", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
    ],
)
def test_what_switches_it_on(traces: str, environment: dict[str, str], is_on: bool) -> None:
    assert Settings(traces=traces).has_traces(environment) is is_on


def test_off_it_is_not_even_imported() -> None:
    """Neither the SDK's tracing, nor an exporter, nor ours. (redis-py takes in OpenTelemetry's
    metrics wherever they are installed.)"""
    made = "from app.main import *; s = Settings(); create_app(s, open_engine(s), open_store(s))"
    look = "import sys; print(*sys.modules)"
    ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "app.tracing")
    for traces, is_loaded in (("off", False), ("on", True)):
        done = subprocess.run(
            [sys.executable, "-c", f"{made}; {look}"],
            env={"PYTHONPATH": str(ROOT), "PERSONADUAL_TRACES": traces},
            capture_output=True,
            text=True,
            check=True,
        )
        for name in ours:
            assert (name in done.stdout) is is_loaded, name


def test_only_the_folder_of_tracing_knows_opentelemetry() -> None:
    """And it is imported at one place, inside a function."""
    for path in (ROOT / "app").rglob("*.py"):
        if path.parent.name == "tracing":
            continue
        text = path.read_text()
        assert "opentelemetry" not in text.replace("OpenTelemetry", ""), path
        module = ast.parse(text)
        for node in module.body:
            assert not (isinstance(node, ast.ImportFrom) and "app.tracing" in (node.module or ""))
