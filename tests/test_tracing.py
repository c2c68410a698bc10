"""Tracing: a real OTLP receiver gets the spans of real requests; the engine hears of the trace."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.fake_engine import FakeEngine, Script
from tests.gateway_process import GatewayProcess
from tests.http import bearer, call, chat, put_persona
from tests.otlp_receiver import CLIENT, INTERNAL, SERVER, OtlpReceiver, Span
from tests.test_shadow import outcomes

ROOT = Path(__file__).parents[1]
PERSONA, QUESTION, ANSWER = "okapi-persona", "quokka-question", "numbat-answer"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=42"}
CHAT = "POST /v1/chat/completions"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """A collector, and the environment that an operator sets to send spans there."""
    started = OtlpReceiver()
    started.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield started
    started.stop()


@pytest.fixture
def start_traced(
    receiver: OtlpReceiver,
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> Starter:
    """Start a gateway over the fake engine, with more of OpenTelemetry's variables."""

    def start(**environment: str) -> Gateway:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return start_gateway(fake.url)

    return start


@pytest.fixture
def traced(start_traced: Starter) -> Gateway:
    return start_traced()


def ask(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    body = {"messages": [{"role": "user", "content": QUESTION}], **fields}
    return call(gateway.url, "/v1/chat/completions", body, headers=headers)


def tree(receiver: OtlpReceiver, name: str = CHAT) -> tuple[Span, list[Span]]:
    """The last span of this name, and its children in the order in which they began."""
    wait_until(lambda: any(span.name == name for span in receiver.spans))
    root = [span for span in receiver.spans if span.name == name][-1]
    return root, [span for span in receiver.spans if span.parent == root.id]


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


def test_no_byte_tells_what_was_said(
    receiver: OtlpReceiver,
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
) -> None:
    """Neither texts nor ids nor keys, whatever goes wrong and wherever they stand."""
    gateway, away = start_gateway(fake.url), start_gateway("http://127.0.0.1:9")
    key = new_key(redis_server.url)
    held = bearer(key)
    script.answer = ANSWER
    path = "/v1/personas/wombat-id"
    for text in (PERSONA, f"{PERSONA}\x00"):
        call(gateway.url, path, {"text": text}, method="PUT", headers=held)
    call(gateway.url, path, headers=held)
    for place in (gateway, away):
        for fields in (
            {"user": "wombat-id"},
            {"user": "wombat-id", "stream": True},
            {"user": "wombat-id", "personadual": {"isolation": "strict"}},
            {"personadual": {"persona": PERSONA}},
            {"temperature": QUESTION},
            {"model": PERSONA},
            {"n": [PERSONA]},
        ):
            ask(place, held, **fields)
    script.status = 500
    ask(gateway, held, user="wombat-id")
    chat(gateway.url, QUESTION, key=key[:-1] + "x")
    call(gateway.url, f"/v1/models/{PERSONA}", headers=held)
    call(gateway.url, f"/{PERSONA}", headers=held)
    call(gateway.url, "/v1/models", method=PERSONA.upper(), headers=held)
    for started in (gateway, away):
        started.stop()
    assert len(receiver.spans) > 20
    sent = b"".join(receiver.raw).lower()
    for secret in (PERSONA, QUESTION, ANSWER, "wombat-id", key, key.rpartition("-")[2]):
        assert secret.lower().encode() not in sent, secret
    assert key.split("-")[1].encode() not in sent


def test_what_machines_ask_is_not_traced(traced: Gateway, receiver: OtlpReceiver) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/", "/docs", "/v1/models"):
        assert call(traced.url, path).status == 200
    traced.stop()
    assert [span.name for span in receiver.spans] == ["GET /v1/models"]


def test_the_end_of_a_gateway_sends_what_is_left(
    receiver: OtlpReceiver, start_traced: Starter
) -> None:
    gateway = start_traced(OTEL_BSP_SCHEDULE_DELAY="60000")
    ask(gateway)
    assert receiver.raw == []
    gateway.stop()
    assert {span.name for span in receiver.spans} == {CHAT, "chat pocket"}


@pytest.mark.parametrize("trouble", ["away", "hung", "failing"])
def test_a_collector_in_trouble_costs_spans_and_nothing_else(
    receiver: OtlpReceiver,
    start_traced: Starter,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    """More requests than its queue holds are answered at once, and the gateway ends in time."""
    url = receiver.url
    if trouble == "away":
        url = "http://127.0.0.1:9/?token=okapi-key"
    elif trouble == "hung":
        receiver.freed.clear()
    else:
        receiver.status = 500
    gateway = start_traced(
        OTEL_EXPORTER_OTLP_ENDPOINT=url,
        OTEL_BSP_MAX_QUEUE_SIZE="16",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="8",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
    )
    begun = time.monotonic()
    for _ in range(40):
        assert ask(gateway, user="ada", stream=True).content == "Cook a stew."
    assert time.monotonic() - begun < 10
    wait_until(lambda: "spans are lost" in caplog.text)
    assert caplog.text.count("spans are lost") == 1
    assert "okapi-key" not in caplog.text
    begun = time.monotonic()
    gateway.stop()
    assert time.monotonic() - begun < 6


def test_every_worker_sends_its_own(
    receiver: OtlpReceiver,
    redis_server: RedisServer,
    fake: FakeEngine,
    script: Script,
    tmp_path: Path,
) -> None:
    (tmp_path / "metrics").mkdir()
    shared = str(tmp_path / "metrics")
    process = GatewayProcess(
        tmp_path / "log",
        *("--workers", "2"),
        engine_url=fake.url,
        redis_url=redis_server.url,
        metrics_dir=shared,
    )
    try:
        process.wait_ready()
        script.delay_s = 0.02  # one worker cannot take them all while it waits
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: chat(process.url).status, range(120)))
        assert answers == [200] * 120
    finally:
        process.end()
    roots = [span for span in receiver.spans if span.name == CHAT]
    assert len(roots) == 120
    assert len({span.service["service.instance.id"] for span in roots}) == 2


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
