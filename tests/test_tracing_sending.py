"""Spans on their way: which go, what none of them tells, and a collector in trouble."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.fake_engine import FakeEngine, Script
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, Starter, wait_until
from tests.gateway_process import GatewayProcess
from tests.otlp_receiver import OtlpReceiver
from tests.traced import ANSWER, CHAT, PERSONA, QUESTION, ask, receiver, start_traced, traced

__all__ = ["receiver", "start_traced", "traced"]  # the fixtures


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
    for secret in (PERSONA, QUESTION, ANSWER, "wombat-id", key, key.split("-", 2)[2]):
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
