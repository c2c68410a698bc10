"""Whom `personadual serve` lets in: this machine alone before there are keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine
from testbed.http import bearer, call, chat
from tests.serve_process import COMMAND, Start, refusal, start  # noqa: F401 - a fixture

HOST = ("--host", "0.0.0.0")


def test_no_other_address_without_keys(tmp_path: Path, fake: FakeEngine) -> None:
    """One line that says both ways out."""
    options = ("--port", str(free_port()), "--data", str(tmp_path))
    line = refusal(*HOST, *options, PERSONADUAL_ENGINE_URL=fake.url)
    assert "personadual key create" in line
    assert "PERSONADUAL_AUTH=required" in line


def test_a_first_key_is_made_where_keys_are_required(start: Start) -> None:  # noqa: F811
    """Shown once, with examples that use it; it may do everything, also make others."""
    served = start(PERSONADUAL_AUTH="required")
    said = served.wait_ready()
    key = next(line.strip() for line in said.splitlines() if line.strip().startswith("pd-"))
    curl = next(line.strip() for line in said.splitlines() if line.strip().startswith("curl"))
    done = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)
    assert '"Cook a stew."' in done.stdout
    assert chat(served.url).status == 401
    made = call(served.url, "/v1/keys", {"name": "web"}, headers=bearer(key))
    assert chat(served.url, key=made.json["key"]).status == 200


def test_keys_are_made_beside_a_running_service(start: Start, tmp_path: Path) -> None:  # noqa: F811
    """The command finds the own Redis by the data folder."""
    served = start()
    assert "personadual key create" in served.wait_ready()
    make = [*COMMAND[:-1], "key", "create", "web", "--data", str(tmp_path / "data")]
    done = subprocess.run(make, capture_output=True, text=True, check=True)
    assert chat(served.url, key=done.stdout.strip()).status == 200
    assert chat(served.url).status == 401
    served.end()
    assert not (tmp_path / "data" / "redis.url").exists()
