"""One child process: started, watched, stopped; never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from model.errors import StartFailed

TAIL_LINES = 15
LOG_BYTES = 5_000_000
LOG_FILES = 2
STOP_S = 15.0
"""How long a child that is asked to end may take."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A program in a session of its own, whose output goes to a bounded log file.

    The kernel sends it SIGTERM when this process dies, however it dies (`prctl(2)`,
    PR_SET_PDEATHSIG), so `start` must be called in the main thread: the signal is tied to the
    thread that forks. `held` are open files, by number, that it holds open as long as it lives.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        held: Sequence[int] = (),
        stop_s: float = STOP_S,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._env = dict(env)
        self.log = log
        self._held = tuple(held)
        self._stop_s = stop_s
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None

    def start(self) -> None:
        """Start the program.

        Raises:
            StartFailed: it is not there or may not be run.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        try:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=self._held,
                preexec_fn=lambda: die_with(parent),
            )
        except OSError as error:
            raise StartFailed(f"{self.name}: cannot run {self._command[0]}: {error}") from error
        self._pump = threading.Thread(target=self._write_log, daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def has_ended_well(self) -> bool:
        """Whether a child that has something to finish has done so.

        Raises:
            StartFailed: it has ended otherwise.
        """
        if self._process is not None and self._process.poll() == 0:
            return True
        self.check()
        return False

    def check(self) -> None:
        """Do nothing while the child lives.

        Raises:
            StartFailed: it has ended; the message carries its last lines.
        """
        if self._process is None or self._process.poll() is None:
            return
        if self._pump is not None:
            self._pump.join(timeout=1.0)
        lines = "\n".join(f"    {line}" for line in self._tail)
        raise StartFailed(
            f"{self.name} ended with status {self._process.returncode}; its last lines:\n{lines}\n"
            f"    (all of it: {self.log})"
        )

    def stop(self) -> None:
        """Ask the child to end; after a while, kill it and all that it started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_s)
        # The session of the child is its process group: what is left in it goes too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _write_log(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        handler = logging.handlers.RotatingFileHandler(
            self.log, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
        )
        with self._process.stdout as lines:
            for line in lines:
                text = line.rstrip("\n")
                self._tail.append(text)
                handler.emit(logging.makeLogRecord({"msg": text}))
        handler.close()


def die_with(parent: int) -> None:
    """Runs in the child, between fork and exec."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the kernel knew that we care
