"""The store over Redis: `app.store.Store`."""

from __future__ import annotations

from app.cache import Listener
from app.personas import PersonaKey
from app.redis import keys as redis_keys
from app.redis import personas as redis_personas
from app.redis.keys import RedisKeys
from app.redis.link import RedisLink
from app.redis.personas import PersonaEar, RedisPersonas
from app.redis.quotas import RedisQuotas

BULK_TIMEOUT_S = 2.0
"""Lists, imports and exports have time: no answer waits for them."""


class RedisStore:
    """Personas, keys and quotas in the Redis at `url`."""

    def __init__(self, url: str, *, timeout_s: float, retry_s: float) -> None:
        self._link = RedisLink(url, timeout_s=timeout_s, retry_s=retry_s)
        # Its own breaker: an import that finds a busy Redis slow must not take it from answers.
        self._bulk = RedisLink(url, timeout_s=max(timeout_s, BULK_TIMEOUT_S), retry_s=retry_s)
        self.personas = RedisPersonas(self._link, self._bulk)
        self.keys = RedisKeys(self._link)
        self.quotas = RedisQuotas(self._link)

    async def ping(self) -> None:
        await self._link.ping()

    async def listen(self, personas: Listener[PersonaKey], keys: Listener[str]) -> None:
        await self._link.listen(
            {redis_personas.CHANNEL: PersonaEar(personas), redis_keys.CHANNEL: keys}
        )

    async def close(self) -> None:
        await self._link.close()
        await self._bulk.close()
