"""The id of a request, under which its caller, its answer and the log speak of it."""

from __future__ import annotations

import random
import re

HEADER = b"x-request-id"
STATE = "request_id"
"""Where the id stands in the state of a request that an application has got."""

_CLEAN = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def id_for(given: bytes | None) -> bytes:
    """The caller's own id where it is a clean one, else a new one."""
    if given is not None and _CLEAN.fullmatch(given):
        return given
    return b"req-%024x" % random.getrandbits(96)
