"""Metrics: what is counted, that names and labels stay as documented, and several workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.commands.gateway import Gateway as Client
from app.commands.status import look
from app.http.edge import route_of
from app.metrics import Metrics, PersonaWrite, Route
from model.decision import Decision, Source
from model.mode import Mode
from model.persona import PersonaStatus
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway, RedisServer, wait_until

NAMES = {
    "mode_decisions_total": {"mode", "source", "persona"},
    "mode_probability": set(),
    "requests_total": {"route", "status"},
    "request_seconds": {"mode"},
    "first_token_seconds": {"mode"},
    "overhead_seconds": set(),
    "dependency_up": {"dependency"},
    "persona_lookups_total": {"outcome"},
    "persona_lookup_seconds": set(),
    "persona_writes_total": {"operation"},
    "tokens_total": {"mode", "kind"},
    "untagged_replies_total": set(),
    "rejected_total": {"reason"},
    "shadow_total": {"outcome"},
    "policy_reloads_total": {"outcome"},
    "limit_checks_total": {"outcome"},
    "inflight": set(),
}
CHAT = 'personadual_requests_total{route="chat",status="%d"}'


def scrape(gateway: Gateway) -> str:
    return call(gateway.url, "/metrics").body.decode()


def value(text: str, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_names_and_labels_are_the_designs(gateway: Gateway, script: Script) -> None:
    """Design 4.6, to the letter, after one request of each kind."""
    put_persona(gateway.url, "ada", "x")
    chat(gateway.url, user="ada")
    chat(gateway.url, user="ada", stream=True)
    chat(gateway.url, model="nope")
    text = scrape(gateway)
    for name, labels in NAMES.items():
        rows = re.findall(
            rf"^personadual_{name}(?:_bucket|_sum|_count)?(?:\{{(.*)\}})? ", text, re.M
        )
        assert rows, name
        found = {label for row in rows for label in re.findall(r'(\w+)="', row)} - {"le"}
        assert found == labels, name
    assert not re.search(r"_created", text)


def test_what_a_request_counts(gateway: Gateway, script: Script) -> None:
    """One unary and one streamed answer, by mode."""
    put_persona(gateway.url, "ada", "x")
    for stream in (False, True):
        chat(gateway.url, user="ada", stream=stream)
    text = scrape(gateway)
    decisions = 'personadual_mode_decisions_total{mode="general",persona="applied",source="model"}'
    assert value(text, decisions) == 2
    assert value(text, "personadual_mode_probability_count") == 2
    assert value(text, 'personadual_request_seconds_count{mode="general"}') == 2
    assert value(text, 'personadual_first_token_seconds_count{mode="general"}') == 1
    assert value(text, 'personadual_tokens_total{kind="completion",mode="general"}') == 2 * 10
    assert value(text, 'personadual_tokens_total{kind="prompt",mode="general"}') == 2 * 10
    assert value(text, CHAT % 200) == 2


def test_the_first_event_is_one_that_rate_sees() -> None:
    """Prometheus takes a counter's first value as where it stands, not as what happened."""
    text = Metrics().render().decode()
    decisions = (
        'personadual_mode_decisions_total{mode="personalized",persona="applied",source="model"}'
    )
    for line in (decisions, *(CHAT % status for status in (200, 500, 502, 503, 504))):
        assert f"{line} 0.0" in text


def test_in_flight_is_who_is_served_and_not_who_watches(
    gateway: Gateway, fake: FakeEngine, script: Script, redis_server: RedisServer
) -> None:
    """Neither the scrape itself counts nor a look at health: an idle gateway says 0."""
    assert value(scrape(gateway), "personadual_inflight") == 0
    redis_server.signal(signal.SIGSTOP)
    try:
        probe = threading.Thread(target=call, args=(gateway.url, "/health/ready"))
        probe.start()
        time.sleep(0.3)
        text = scrape(gateway)
        assert probe.is_alive()
        assert value(text, "personadual_inflight") == 0
    finally:
        redis_server.signal(signal.SIGCONT)
        probe.join()
    script.headers_after_s = 2
    caller = threading.Thread(target=chat, args=(gateway.url,))
    caller.start()
    wait_until(lambda: fake.running == 1, 5)
    assert value(scrape(gateway), "personadual_inflight") == 1
    assert look(Client(gateway.url))[0].inflight == 1
    caller.join()


def test_a_request_may_stay_out_of_the_statistics(gateway: Gateway, script: Script) -> None:
    """Chat clients send title-generation calls to the same endpoint."""
    for stream in (False, True):
        chat(gateway.url, user="ada", personadual={"persona_id": None}, stream=stream)
    text = scrape(gateway)
    assert re.findall(r"^personadual_mode_decisions_total\{.* (\S+)$", text, re.M) == ["0.0"] * 8
    assert value(text, "personadual_mode_probability_count") == 0
    assert value(text, 'personadual_request_seconds_count{mode="general"}') == 0
    assert value(text, CHAT % 200) == 2


def test_rejections_are_counted_by_reason(gateway: Gateway) -> None:
    call(gateway.url, "/v1/chat/completions", b"{")
    chat(gateway.url, model="nope")
    call(gateway.url, "/v1/chat/completions", b"x" * 17_000_000)
    text = scrape(gateway)
    for reason in ("invalid", "unknown_model", "too_large"):
        assert value(text, f'personadual_rejected_total{{reason="{reason}"}}') == 1
    assert value(text, 'personadual_requests_total{route="chat",status="413"}') == 1


def test_writes_of_personas_are_counted_when_they_succeed(gateway: Gateway) -> None:
    put_persona(gateway.url, "ada", "x")
    call(gateway.url, "/v1/personas/ada", {"text": ""}, method="PUT")
    call(gateway.url, "/v1/personas/ada")
    call(gateway.url, "/v1/personas/ada", {"text": "y"}, method="PATCH")
    call(gateway.url, "/v1/personas/import", {"id": "bob", "text": "x"})
    call(gateway.url, "/v1/personas/ada", method="DELETE")
    call(gateway.url, "/v1/personas/ada", method="DELETE")
    text = scrape(gateway)
    for operation in PersonaWrite:
        assert value(text, f'personadual_persona_writes_total{{operation="{operation}"}}') == 1


def test_what_is_away_is_told(gateway: Gateway, script: Script) -> None:
    """An engine without the gate is up; the gate is not."""
    script.has_gate = False
    assert call(gateway.url, "/health/ready").status == 503
    text = scrape(gateway)
    for dependency, up in (("redis", 1), ("engine", 1), ("gate", 0)):
        assert value(text, f'personadual_dependency_up{{dependency="{dependency}"}}') == up


def test_the_gateways_own_time_leaves_the_engines_out(gateway: Gateway, script: Script) -> None:
    """Twelve tokens of 20 ms are the engine's; one observation a chat request, none elsewhere."""
    script.delay_s = 0.02
    chat(gateway.url)
    call(gateway.url, "/v1/models")
    text = scrape(gateway)
    assert value(text, "personadual_overhead_seconds_count") == 1
    assert value(text, "personadual_overhead_seconds_sum") < 0.1
    assert value(text, 'personadual_request_seconds_sum{mode="general"}') > 0.1


def test_labels_are_few_whatever_is_asked_for() -> None:
    """A path becomes one of the routes."""
    assert route_of("/v1/personas/ada") is Route.PERSONAS
    assert route_of("/v1/chat/completions") is Route.CHAT
    assert route_of("/v1/personasx") is Route.OTHER
    assert route_of("/" + "x" * 10_000) is Route.OTHER


def test_prometheus_own_linter_is_content(
    gateway: Gateway, script: Script, program: Callable[[str], str]
) -> None:
    chat(gateway.url)
    check = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=scrape(gateway).encode(),
        capture_output=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


WORKER = """
from pathlib import Path
import sys
from app.metrics import Metrics
from model.decision import Decision, Source
from model.mode import Mode
from model.persona import PersonaStatus
metrics = Metrics(Path(sys.argv[1]))
for _ in range(3):
    metrics.count_decision(Decision(Mode.GENERAL, Source.MODEL, 0.2), PersonaStatus.ABSENT)
metrics.inflight.inc()
if sys.argv[2] == "show":
    print(metrics.render().decode())
"""


def test_several_workers_are_summed(tmp_path: Path) -> None:
    """Two processes count three each; the one that is gone leaves no request in flight."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for what in ("count", "show"):
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path), what],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
    labels = 'mode="general",persona="absent",source="model"'
    assert value(done.stdout, f"personadual_mode_decisions_total{{{labels}}}") == 6
    assert value(done.stdout, "personadual_mode_probability_count") == 6
    assert value(done.stdout, "personadual_inflight") == 1


def test_each_metrics_object_has_its_own_registry() -> None:
    """Nothing is registered globally: two gateways in one process do not add up."""
    one, two = Metrics(), Metrics()
    one.count_decision(Decision(Mode.GENERAL, Source.MODEL), PersonaStatus.ABSENT)
    decisions = 'personadual_mode_decisions_total{mode="general",persona="absent",source="model"}'
    assert value(one.render().decode(), decisions) == 1
    assert f"{decisions} 0.0" in two.render().decode()
