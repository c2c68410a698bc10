"""The audit log: one line of JSON per action of an admin. No secret, no persona text."""

from __future__ import annotations

import logging

import orjson

from app.logs import FACTS

logger = logging.getLogger("personadual.audit")


def record(action: str, by: str | None, **facts: str) -> None:
    """Write down who (a key's id) did what."""
    line = {"event": "audit", "action": action, "by": by, **facts}
    logger.info("%s", orjson.dumps(line).decode(), extra={FACTS: line})


def show() -> None:
    """Let the lines appear, whatever the level of other logs."""
    logger.setLevel(logging.INFO)
