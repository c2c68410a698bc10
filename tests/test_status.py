"""`personadual status` and what it watches, of a real gateway over the fake engine."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from app.commands.gateway import Gateway as Client
from app.commands.scrape import Scrape, quantile
from app.commands.status import look, screen
from testbed.fake_engine import Script
from testbed.http import call, chat
from tests.api_keys import COMMAND
from tests.conftest import Gateway


def test_status_between_two_looks(gateway: Gateway, script: Script) -> None:
    """What `--watch` shows is what happened since the look before."""
    client = Client(gateway.url)
    chat(gateway.url)
    _, before = look(client)
    for _ in range(3):
        chat(gateway.url)
    time.sleep(0.2)
    seen, _ = look(client, before)
    assert seen.modes == {"general": 3.0, "personalized": 0.0}
    assert seen.seconds == pytest.approx(time.monotonic() - before.at_s, abs=0.1)
    written = StringIO()
    Console(file=written, width=100).print(screen(replace(seen, seconds=2.04)))
    assert "in the last 2 s" in written.getvalue()
    assert "4 requests · 2.0 a second" in written.getvalue()


def test_status_asks_for_the_models_once(gateway: Gateway, script: Script) -> None:
    """With a key no more often, where none is asked for."""
    for number, key in enumerate(("", "pd-x-y"), 1):
        seen, _ = look(Client(gateway.url, key))
        assert (seen.model, seen.asks_keys) == ("pocket", False)
        _, scrape = look(Client(gateway.url))
        assert scrape.total("requests_total", route="models") == 2 * number - 1


def test_watch_writes_a_line_of_json_for_each_look(gateway: Gateway) -> None:
    """An outage is told elsewhere, and Ctrl-C is its good end."""
    watching = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--every", "0.5", "--json", "--url", gateway.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
    gateway.stop()
    assert "no gateway answers" in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    later, _ = watching.communicate(timeout=10)
    assert watching.returncode == 0
    for line in later.splitlines():
        json.loads(line)
    assert looks[0]["seconds"] is None
    assert 0.5 <= looks[1]["seconds"] < 5


class Proxy(http.server.ThreadingHTTPServer):
    """Before a gateway; while `status` is set it answers with that, in its own words."""

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.behind = behind
        self.status: int | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        answer = call(self.server.behind, self.path)
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing."""


def test_watch_outlives_a_proxys_errors_and_no_wrong_key(gateway: Gateway) -> None:
    """A restart behind a proxy is a 502 for a while, and counts in the seconds; a key that is
    refused stays so."""
    proxy = Proxy(gateway.url)
    watching = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--every", "0.5", "--json", "--url", proxy.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    try:
        assert json.loads(watching.stdout.readline())["is_ready"]
        proxy.status = 502
        for _ in range(2):
            assert "status 502" in watching.stderr.readline()
        proxy.status = None
        assert json.loads(watching.stdout.readline())["seconds"] > 1
        proxy.status = 401
        _, said = watching.communicate(timeout=10)
        assert "status 401" in said.splitlines()[-1]
        assert watching.returncode == 1
    finally:
        watching.kill()
        proxy.shutdown()


def test_quantiles_are_those_of_prometheus() -> None:
    """Of 20, 10 are up to 1 s, 8 more up to 2 s, 2 above: p50 1 s, p75 1 + 5/8 s, p99 2 s."""
    buckets = [(1.0, 10.0), (2.0, 18.0), (float("inf"), 20.0)]
    assert [quantile(buckets, share) for share in (0.25, 0.5, 0.75, 0.99)] == [0.5, 1, 1.625, 2]
    assert quantile([], 0.5) is None
    assert Scrape().quantiles("first_token_seconds") == [None, None, None]
