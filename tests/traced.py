"""Traced gateways: a collector that keeps what it is sent, and the spans of a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.fake_engine import FakeEngine, Script
from testbed.http import call
from tests.conftest import Gateway, Starter, wait_until
from tests.otlp_receiver import OtlpReceiver, Span

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
