"""The limits of a service, as the kernel's control groups keep them: version 2, or 1."""

from __future__ import annotations

import contextlib
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
IS_UNIFIED = (CGROUP / "cgroup.controllers").exists()


class Limits:
    """Memory and processes; the processor is not bound here, this machine has few."""

    def __init__(self, name: str, memory_bytes: int, pids: int) -> None:
        place = f"personadual-check-{name}"
        self._memory = CGROUP / place if IS_UNIFIED else CGROUP / "memory" / place
        self._pids = CGROUP / place if IS_UNIFIED else CGROUP / "pids" / place
        self.lift()
        for folder in {self._memory, self._pids}:
            folder.mkdir()
        limit = "memory.max" if IS_UNIFIED else "memory.limit_in_bytes"
        (self._memory / limit).write_text(str(memory_bytes))
        (self._pids / "pids.max").write_text(str(pids))

    @property
    def join(self) -> str:
        """Shell text by which a shell puts itself and its children under them."""
        places = {self._memory, self._pids}
        return " ".join(f"echo $$ > {folder}/cgroup.procs;" for folder in places)

    @property
    def peak_megabytes(self) -> float:
        name = "memory.peak" if IS_UNIFIED else "memory.max_usage_in_bytes"
        return int((self._memory / name).read_text()) / 1e6

    @property
    def now_pids(self) -> int:
        return int((self._pids / "pids.current").read_text())

    def lift(self) -> None:
        for folder in {self._memory, self._pids}:
            with contextlib.suppress(OSError):
                folder.rmdir()
