"""SIGHUP for `personadual serve`: its gateways read their policy file again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_WORKER = b"spawn_main"
"""In the command line of uvicorn's workers, and of no other child of its supervisor."""


@contextlib.contextmanager
def reloadable(gateway: int) -> Iterator[None]:
    """Within the block SIGHUP goes on to the gateway of this process id, or to its workers.

    A terminal that is closed sends SIGHUP too: that still ends us.
    """
    has_begun_with_terminal = _has_terminal()

    def reload(_number: int, _frame: FrameType | None) -> None:
        if has_begun_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        for pid in workers_of(gateway) or [gateway]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, reload)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def workers_of(supervisor: int) -> list[int]:
    """The worker processes of a uvicorn that has several. Sent to itself, it would replace them,
    and a worker that is replaced cuts the streams that outlast its grace time."""
    listed = Path(f"/proc/{supervisor}/task").glob("*/children")
    children = [int(pid) for path in listed for pid in path.read_text().split()]
    return [pid for pid in children if _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
