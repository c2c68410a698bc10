"""Keys for tests, made where a gateway's Redis is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

from app.access.keys import Role, make_key
from app.redis.store import RedisStore

COMMAND = [sys.executable, "-m", "app"]


def new_key(redis_url: str, tenant: str = "acme", roles: Any = tuple(Role), **more: Any) -> str:
    """A key that is in force at once."""
    text, key = make_key("test", tenant, roles, **more)

    async def write() -> None:
        store = RedisStore(redis_url, timeout_s=5, retry_s=1)
        await store.keys.create(key)
        await store.close()

    asyncio.run(write())
    return text


def command(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of `personadual`."""
    env = {**os.environ, "PERSONADUAL_REDIS_URL": redis_url, "COLUMNS": "200"}
    return subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )
