"""A gateway in a process of its own, for tests that kill it or send it signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from app.serve.preflight import free_port
from app.serve.probes import answers
from tests.conftest import wait_until


class GatewayProcess:
    """`uvicorn app.main:gateway --factory`, with settings from its environment."""

    def __init__(self, log: Path, *options: str, **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        chosen = {"notice_s": "0", **settings}
        env = {f"PERSONADUAL_{name.upper()}": value for name, value in chosen.items()}
        command = ["-m", "uvicorn", "app.main:gateway", "--factory", "--port", str(port), *options]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command], env={**os.environ, **env}, stdout=out, stderr=out
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> None:
        wait_until(lambda: answers(f"{self.url}/health/live"), 30)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=30)
