"""API keys: how one is made and recognised, the store port, and the ring that finds them.

A key reads `pd-ID-SECRET`. Its 256 random bits need no slow hash: the store holds the SHA-256 of
the whole text under the id, and the text itself is shown once, to whoever makes it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from app.access.policy import SILENT, Rule
from app.access.quota import UNLIMITED, Limits
from app.cache import ReadCache

MAX_KEYS = 10_000
_KEY = re.compile(r"pd-([0-9a-f]{16})-[A-Za-z0-9_-]{43}")
_NOBODYS = hashlib.sha256(b"").hexdigest()
_ANY = "any"


class Role(StrEnum):
    """What a key may do."""

    CHAT = "chat"  # ask for answers and decisions
    PERSONAS = "personas"  # read and write the personas of its tenant
    ADMIN = "admin"  # make, list and revoke the keys of the deployment


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: all but the secret."""

    id: str
    name: str
    tenant: str
    roles: tuple[Role, ...]
    digest: str
    created_at: str
    dial: Rule = SILENT
    limits: Limits = UNLIMITED


def make_key(
    name: str,
    tenant: str,
    roles: tuple[Role, ...],
    dial: Rule = SILENT,
    limits: Limits = UNLIMITED,
) -> tuple[str, ApiKey]:
    """A new key: the text that its holder sends, and what is stored of it."""
    key_id = secrets.token_hex(8)
    text = f"pd-{key_id}-{secrets.token_urlsafe(32)}"
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    return text, ApiKey(key_id, name, tenant, roles, _digest(text), created_at, dial, limits)


class KeyStore(Protocol):
    """Where keys live. Every call raises `StoreUnavailable` when it does not answer."""

    async def get(self, key_id: str) -> ApiKey | None: ...

    async def create(self, key: ApiKey) -> None:
        """Write a new key and tell all gateways.

        Raises:
            InvalidRequest: there are `MAX_KEYS` already.
        """
        ...

    async def revoke(self, key_id: str) -> bool:
        """Forget a key and tell all gateways; whether there was one."""
        ...

    async def list(self) -> list[ApiKey]:
        """All keys, the oldest first."""
        ...

    async def is_any_made(self) -> bool:
        """Whether a key has ever been made here: revoking the last one opens nothing."""
        ...


class KeyRing:
    """Finds keys, most of the time without asking the store.

    Absence is not remembered: a new key works at once, and made-up ids push no real one out.
    While the store is away a key that was known goes on working for `life_s`.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        max_entries: int,
        life_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys: ReadCache[str, ApiKey] = ReadCache(
            store.get,
            max_entries=max_entries,
            life_s=life_s,
            keeps_absence=False,
            stale_s=life_s,
            clock=clock,
        )

        async def look(_key: str) -> bool:
            return await store.is_any_made()

        # What was known stays so while the store is away: no key is made without it.
        self._made: ReadCache[str, bool] = ReadCache(
            look, max_entries=1, life_s=life_s, stale_s=float("inf"), clock=clock
        )
        self._is_made_for_sure = False

    async def find(self, text: str) -> ApiKey | None:
        """The key that this text is, or None.

        Raises:
            StoreUnavailable: its id is not known here, and the store does not answer.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        found = await self._keys.get(match[1])
        is_it = hmac.compare_digest(found.digest if found else _NOBODYS, _digest(text))
        return found if is_it else None

    async def is_any_made(self) -> bool:
        """Whether a key has ever been made.

        Raises:
            StoreUnavailable: the store has not answered yet.
        """
        if not self._is_made_for_sure:
            self._is_made_for_sure = bool(await self._made.get(_ANY))
        return self._is_made_for_sure

    def forget(self, key_id: str) -> None:
        self._keys.forget(key_id)
        self._made.forget(_ANY)

    def hears(self, is_hearing: bool) -> None:
        self._keys.hears(is_hearing)
        self._made.hears(is_hearing)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
