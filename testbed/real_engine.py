"""The real vLLM as a child process, started as `personadual serve` starts it."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from app.serve.child import Child
from app.serve.engine import Launch, engine_command, engine_package
from app.serve.preflight import free_port
from model.pocket import NAME
from model.pocket import build as pocket

CACHE = Path(__file__).parents[1] / ".personadual" / "models"
START_LIMIT_S = 400.0


def built_pocket(*, is_trained: bool) -> Path:
    """Pocket as it is served, or its base, whose decisions are unsure enough to be put to the test.

    Both are called `pocket`, as the folder is.
    """
    folder = (CACHE if is_trained else CACHE / "untrained") / NAME
    if not pocket.is_built(folder, is_trained=is_trained):
        pocket.build(folder, is_trained=is_trained)
    return folder.resolve()


class RealEngine:
    """vLLM over a checkpoint; `has_gate=False` leaves our plug-ins out."""

    def __init__(
        self, checkpoint: Path, folder: Path, options: list[str], *, has_gate: bool = True
    ) -> None:
        port = free_port()
        launch = Launch(checkpoint, port, 2048, has_gate=has_gate, options=tuple(options))
        command, env = engine_command(launch, engine_package())
        self.checkpoint = checkpoint
        self.url = f"http://127.0.0.1:{port}"
        # No C++ compiler, as in the image: the engine does without.
        self.child = Child("engine", command, {**env, "CXX": "/bin/false"}, folder / "engine.log")

    def start(self) -> None:
        self.child.start()
        deadline = time.monotonic() + START_LIMIT_S
        while not self._is_up():
            self.child.check()
            assert time.monotonic() < deadline, "the engine did not start in time"
            time.sleep(0.5)

    def stop(self) -> None:
        self.child.stop()

    def running(self) -> float:
        """The engine's own count of requests that it works on."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found = re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", text, re.MULTILINE)
        assert found, "the engine has no such metric"
        return sum(map(float, found))

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
