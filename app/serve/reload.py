"""SIGHUP for `personadual serve`: its gateways read their policy file again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from app.serve.stack import Stack

_WORKER = b"spawn_main"
"""In the command line of uvicorn's workers, and of no other child of its supervisor."""


@contextlib.contextmanager
def reloadable(stack: Stack) -> Iterator[None]:
    """Within the block SIGHUP goes on to the stack's gateway, or to its workers.

    One that is not started yet is about to read the file anyway. A terminal that is closed sends
    SIGHUP too: that still ends us.
    """
    has_begun_with_terminal = _has_terminal()

    def reload(_number: int, _frame: FrameType | None) -> None:
        if has_begun_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        for pid in readers_of(stack.gateway) if stack.gateway else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, reload)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def readers_of(gateway: int) -> list[int]:
    """The processes that read the policy: the gateway itself, or the workers that it supervises.

    A supervisor would replace its workers, which cuts streams that outlast the grace time. One
    that does not catch the signal yet would die of it, and is about to read the file anyway.
    """
    listed = Path(f"/proc/{gateway}/task").glob("*/children")
    children = [int(pid) for path in listed for pid in path.read_text().split()]
    workers = [pid for pid in children if _WORKER in _read(pid, "cmdline")]
    return [pid for pid in workers or [gateway] if _catches(pid, signal.SIGHUP)]


def _catches(pid: int, number: int) -> bool:
    lines = _read(pid, "status").splitlines()
    caught = next((line.split()[1] for line in lines if line.startswith(b"SigCgt")), b"0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
