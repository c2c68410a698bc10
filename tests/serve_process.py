"""`personadual serve` as a process: started over the fake engine and ended with its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine

COMMAND = [sys.executable, "-m", "app", "serve"]


class Served:
    """A running `personadual serve`."""

    def __init__(self, folder: Path, engine_url: str, *options: str, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [*COMMAND, "--port", str(self.port), "--data", str(folder), *options],
            env={**os.environ, "PERSONADUAL_ENGINE_URL": engine_url, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_ready(self) -> str:
        """Read what it says until it is ready."""
        said = ""
        assert self.process.stdout is not None
        while "Ctrl-C ends it" not in said:
            line = self.process.stdout.readline()
            assert line, said
            said += line
        return said

    def children(self) -> list[int]:
        """All descendants, the children of children included."""
        found, todo = [], [self.process.pid]
        while todo:
            listed = Path(f"/proc/{todo.pop()}/task").glob("*/children")
            pids = [int(pid) for path in listed for pid in path.read_text().split()]
            found += pids
            todo += pids
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path, fake: FakeEngine) -> Iterator[Start]:
    fake.reset()
    started: list[Served] = []

    def run(*options: str, **env: str) -> Served:
        served = Served(tmp_path / "data", fake.url, *options, **env)
        started.append(served)
        return served

    yield run
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def refusal(
    *options: str, cwd: Path | None = None, command: Sequence[str] = COMMAND, **env: str
) -> str:
    """What it says when it cannot start: one line, status 1."""
    done = subprocess.run(
        [*command, *options],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 1, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("personadual: ")
    return lines[0]
