"""Address: where the API of an OpenAI-compatible endpoint begins, from what a user names."""

from __future__ import annotations

from urllib.parse import urlsplit


def api_base(url: str) -> str:
    """`/v1` behind an address that has no path; another path is the user's own."""
    bare = url.rstrip("/")
    return bare if urlsplit(bare).path else f"{bare}/v1"
