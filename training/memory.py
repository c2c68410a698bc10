"""Memory on a CPU: freed blocks are kept for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20  # the highest that glibc takes


def keep_freed_memory() -> None:
    """Tell glibc to give no memory back, and to serve large blocks from it.

    torch allocates megabytes per operation. glibc maps each of them anew, and the kernel clears
    every page: a quarter of the time of a training on two cores (3.6 s a step, 2.8 without).
    Blocks over glibc's limit are asked for in huge pages (another 11 %), which torch does where
    this variable stands before it allocates.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)
