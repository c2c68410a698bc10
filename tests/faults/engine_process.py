"""The fake engine in a process of its own: to be killed, stopped and started again.

python -m tests.faults.engine_process PORT
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from app.serve.child import Child
from app.serve.preflight import free_port
from app.serve.probes import answers
from testbed.fake_engine import FakeEngine
from testbed.http import call
from tests.conftest import wait_until


class EngineProcess:
    """Always at the same port, so that a gateway finds it again."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._log = folder / "engine.log"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        assert self._child.pid is not None
        return self._child.pid

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.engine_process", str(self._port)]
        self._child = Child("engine", command, {}, self._log)
        self._child.start()
        wait_until(lambda: answers(f"{self.url}/health"), 30)

    def script(self, **fields: Any) -> None:
        assert call(self.url, "/script", fields).status == 200

    def running(self) -> float:
        return float(call(self.url, "/metrics").body.split()[-1])

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


def main(port: int) -> None:
    FakeEngine(port).start()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
