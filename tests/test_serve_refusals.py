"""`personadual serve` that cannot start: one line that says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.serve import preflight
from app.serve.child import Child
from app.serve.preflight import free_port
from model.errors import StartFailed
from model.pocket.build import NEEDED_BYTES
from testbed.fake_engine import FakeEngine
from tests.serve_process import COMMAND, refusal


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        line = refusal("--port", port, "--data", str(tmp_path))
    assert f"port {port}" in line
    assert "--port" in line


def test_a_data_folder_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refusal("--port", str(free_port()), "--data", str(tmp_path / "file" / "data"))
    assert "--data" in line


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    line = refusal("--data", str(tmp_path), PERSONADUAL_THRESHOLD="2")
    assert "PERSONADUAL_THRESHOLD" in line
    line = refusal("--data", str(tmp_path), PERSONADUAL_SHADOW_LOG="no/log")
    assert line == "personadual: PERSONADUAL_SHADOW_LOG: there is no folder no"


@pytest.mark.parametrize("name", ["PERSONADUAL_ENGINE_URL", "PERSONADUAL_REDIS_URL"])
def test_a_service_that_is_not_there_is_one_clear_line(
    tmp_path: Path, fake: FakeEngine, name: str
) -> None:
    """Named, with what to do; a password in the URL is not repeated."""
    scheme = "redis://:okapi@" if "REDIS" in name else "http://"
    env = {"PERSONADUAL_ENGINE_URL": fake.url, name: f"{scheme}127.0.0.1:9"}
    line = refusal("--port", str(free_port()), "--data", str(tmp_path), **env)
    assert name in line
    assert "okapi" not in line


def test_a_folder_without_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    line = refusal("--port", str(free_port()), "--data", str(tmp_path), "--model", str(tmp_path))
    assert "config.json" in line


def test_a_malformed_card_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "personadual.json").write_text('{"format": 9}')
    line = refusal(
        "--port", str(free_port()), "--data", str(tmp_path / "d"), "--model", str(tmp_path)
    )
    assert "format" in line


def test_too_little_memory_or_disk_says_what_to_do(tmp_path: Path) -> None:
    """Both limits by asking for more than any machine has."""
    with pytest.raises(StartFailed, match="PERSONADUAL_ENGINE_URL"):
        preflight.check_memory(10**15)
    with pytest.raises(StartFailed, match="--data"):
        preflight.check_disk(tmp_path, 10**17)


def test_the_room_for_building_pocket_is_asked_for_at_the_start(tmp_path: Path) -> None:
    """Not by the build, behind a started Redis."""
    assert preflight.data_bytes(tmp_path, serves_pocket=True) == NEEDED_BYTES
    assert preflight.data_bytes(tmp_path, serves_pocket=False) == preflight.DATA_BYTES
    with pytest.raises(StartFailed, match="GB free and needs"):
        preflight.check_room(tmp_path / "not" / "yet", 10**17)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PERSONADUAL_POLICY", "nowhere.toml", "nowhere.toml cannot be read"),
        ("PERSONADUAL_REDIS_URL", "http://okapi", "PERSONADUAL_REDIS_URL is not a Redis URL"),
    ],
)
def test_a_gateway_alone_that_cannot_start_is_one_clear_line(
    name: str, value: str, said: str
) -> None:
    """Said before it becomes uvicorn, which would show a traceback."""
    command = [*COMMAND[:-1], "gateway"]
    line = refusal("--port", str(free_port()), command=command, **{name: value})
    assert said in line
    assert "okapi" not in line


def test_a_missing_program_says_what_to_do(tmp_path: Path) -> None:
    child = Child("x", [str(tmp_path / "nothing")], {}, tmp_path / "x.log")
    with pytest.raises(StartFailed, match="cannot run"):
        child.start()
