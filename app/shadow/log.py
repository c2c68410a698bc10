"""The shadow log: JSON lines in a file of bounded size, which several workers may share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.chat import wire


class ShadowLog:
    """Appends lines; a file that is full makes room under the name with `.1` behind it.

    Both together hold up to twice `max_bytes`, whatever the number of workers. Only the owner may
    read them.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._older = path.with_name(f"{path.name}.1")
        self._max_bytes = max_bytes

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line; waits for the disk and for other writers.

        Raises:
            OSError: the file cannot be written.
        """
        line = wire.encode(entry) + b"\n"
        while not self._append(line):
            pass

    def _append(self, line: bytes) -> bool:
        """Whether it could be appended: not to a file that was full, or that had made room."""
        # Opened for each line: lines are few, and nobody keeps a file that another has moved.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not self._is_current(descriptor):
                return False
            size = os.fstat(descriptor).st_size
            if size and size + len(line) > self._max_bytes:
                self._path.replace(self._older)
                return False
            os.write(descriptor, line)
            return True
        finally:
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
