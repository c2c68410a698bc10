"""Settings: a variable that is named like one, and is none, is said at the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import Settings, read_settings, unknown_variables
from model.errors import StartFailed
from testbed.fake_engine import FakeEngine, Script
from tests.conftest import RedisServer
from tests.gateway_process import GatewayProcess
from tests.serve_process import Start, start  # noqa: F401 - a fixture
from tests.test_compose import FILES, ROOT

SAID = "PERSONADUAL_ISOLATON is not a setting; did you mean PERSONADUAL_ISOLATION?"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("PERSONADUAL_ISOLATON", SAID),
        (
            "personadual_treshold",
            "personadual_treshold is not a setting; did you mean PERSONADUAL_T",
        ),
        ("PERSONADUAL_XYZ", "PERSONADUAL_XYZ is not a setting"),
    ],
)
def test_what_is_no_setting_is_named(variable: str, said: str) -> None:
    """With the setting that is written nearly so, where there is one."""
    (line,) = unknown_variables({variable: "x", "PATH": "/bin"})
    assert line.startswith(said)
    assert ("did you mean" in line) == ("did you mean" in said)


def test_a_mode_that_is_none_is_told_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONADUAL_MODE", "generall")
    with pytest.raises(StartFailed, match=r"MODE: .*'auto', 'general' or 'personalized"):
        read_settings()


def test_what_is_read_is_not_named() -> None:
    """By the settings in either case, the commands, the Compose files, and by our tests."""
    texts = [path.read_text() for path in [*FILES, ROOT / ".env.example"]]
    names = set(re.findall(r"(?m)(?:\$\{|^#)(PERSONADUAL_\w+)", "".join(texts)))
    for path in [*(ROOT / "app").rglob("*.py"), ROOT / ".ci" / "run"]:
        names |= set(re.findall(r'(?m)(?:envvar="|^)(PERSONADUAL_\w+)', path.read_text()))
    assert {"PERSONADUAL_URL", "PERSONADUAL_PORT", "PERSONADUAL_TEST_PROGRAMS"} <= names
    names |= {f"PERSONADUAL_{name.upper()}" for name in Settings.model_fields}
    environment = dict.fromkeys([*names, "personadual_threshold", "ISOLATON"], "x")
    assert unknown_variables(environment) == []


def test_a_gateway_says_it_at_its_start(
    fake: FakeEngine, script: Script, redis_server: RedisServer, tmp_path: Path
) -> None:
    urls = {"engine_url": fake.url, "redis_url": redis_server.url}
    gateway = GatewayProcess(tmp_path / "log", isolaton="strict", **urls)
    try:
        gateway.wait_ready()
    finally:
        gateway.end()
    (line,) = [line for line in gateway.said.splitlines() if SAID in line]
    assert '"level":"warning"' in line


def test_serve_says_it_where_it_was_started(start: Start) -> None:  # noqa: F811
    """Its gateway's log is a file, which nobody reads at that moment."""
    assert SAID in start(PERSONADUAL_ISOLATON="strict").wait_ready()
