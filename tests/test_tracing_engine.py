"""A trace goes on in the real vLLM: its span hangs on the gateway's call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.real_engine import RealEngine
from tests.conftest import Gateway, Starter, wait_until
from tests.otlp_receiver import SERVER, OtlpReceiver, Span
from tests.traced import ANSWER, CONTEXT, PERSONA, QUESTION, TRACE, ask, tree

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    started = OtlpReceiver()
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def traced_engine(
    pocket: Path, collector: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealEngine]:
    """One that sends its own spans to the gateway's collector, as docs/operations.md says."""
    options = [f"--otlp-traces-endpoint={collector.url}/v1/traces"]
    server = RealEngine(pocket, tmp_path_factory.mktemp("traced"), options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        server.start()
    yield server
    server.stop()


@pytest.fixture
def live(
    traced_engine: RealEngine,
    collector: OtlpReceiver,
    start_gateway: Starter,
    monkeypatch: pytest.MonkeyPatch,
) -> Gateway:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    return start_gateway(traced_engine.url, checkpoint=traced_engine.checkpoint)


def test_the_engines_span_hangs_on_the_gateways_call(
    live: Gateway, collector: OtlpReceiver
) -> None:
    """One trace from the caller to the engine, and nothing of what was said in either's spans."""
    own = {"mode": "general", "persona": PERSONA}
    assert ask(live, CONTEXT, personadual=own, max_tokens=24).status == 200
    request, children = tree(collector)
    [call] = [span for span in children if span.name.startswith("chat ")]

    def of_engine() -> list[Span]:
        return [span for span in collector.spans if span.name == "llm_request"]

    wait_until(lambda: bool(of_engine()))
    [engine] = of_engine()
    assert (engine.trace_id, engine.parent) == (TRACE, call.id)
    assert request.trace_id == TRACE
    assert engine.kind == SERVER
    assert engine.service != call.service
    assert call.begun_ns <= engine.begun_ns <= engine.ended_ns
    assert engine.attributes["gen_ai.usage.completion_tokens"] > 0
    for said in (PERSONA, QUESTION, ANSWER):
        assert all(said.encode() not in raw for raw in collector.raw)
