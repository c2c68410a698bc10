"""The openai client of an endpoint: where its API begins, and how long a request may take."""

from __future__ import annotations

from urllib.parse import urlsplit

from openai import AsyncOpenAI

MAX_BACK_OFF_S = 120.0
"""The longest wait between two attempts that the client lets a server ask for."""


def open_client(url: str, *, api_key: str, timeout_s: float, retries: int) -> AsyncOpenAI:
    """A client for whoever closes it; `timeout_s` is each attempt's."""
    return AsyncOpenAI(
        base_url=api_base(url), api_key=api_key, timeout=timeout_s, max_retries=retries
    )


def api_base(url: str) -> str:
    """`/v1` after an address that has no path; another path is the user's own."""
    bare = url.rstrip("/")
    return bare if urlsplit(bare).path else f"{bare}/v1"


def limit_s(timeout_s: float, retries: int) -> float:
    """How long a request may take, all its attempts together.

    The client's own limit is between two bytes: an endpoint that drips would never reach it. Each
    attempt may wait for its connection and for its answer, and between two the client.
    """
    attempt_s = 2 * timeout_s
    return attempt_s + retries * (attempt_s + MAX_BACK_OFF_S)
