"""Who a new service would let in: no address but the loopback one without keys."""

from __future__ import annotations

import asyncio

from app.access.auth import is_loopback
from app.access.keys import KeyStore, Role, make_key
from app.redis.store import RedisStore
from app.settings import Auth, Settings
from model.errors import StartFailed

ANSWER_S = 5.0
FIRST_KEY = "first"


def check_door(host: str, settings: Settings, redis_url: str) -> tuple[bool, str | None]:
    """Whether the gateway will ask for keys, and a first key where one had to be made.

    The first key may do everything; it is made where keys are required and there are none.

    Raises:
        StartFailed: others than this machine would be served without keys.
    """
    if settings.auth is Auth.OFF:
        return False, None
    is_made, text = asyncio.run(_look(settings, redis_url))
    if not is_made and not is_loopback(host):
        raise StartFailed(
            f"there are no API keys, so whoever reaches {host} would be served: make one on a"
            " service at 127.0.0.1 first (personadual key create NAME), or set"
            " PERSONADUAL_AUTH=required, and a first key is made and shown at the start"
        )
    return is_made, text


async def _look(settings: Settings, redis_url: str) -> tuple[bool, str | None]:
    store = RedisStore(redis_url, timeout_s=ANSWER_S, retry_s=ANSWER_S)
    try:
        if await store.keys.is_any_made():
            return True, None
        if settings.auth is Auth.REQUIRED:
            return True, await _make_first(store.keys, settings.tenant)
        return False, None
    finally:
        await store.close()


async def _make_first(keys: KeyStore, tenant: str) -> str:
    text, key = make_key(FIRST_KEY, tenant, tuple(Role))
    await keys.create(key)
    return text
