"""The store port: what the gateway keeps outside of itself, and how it hears of others' writes."""

from __future__ import annotations

from typing import Protocol

from app.access.keys import KeyStore
from app.access.quota import QuotaStore
from app.cache import Listener
from app.personas import PersonaKey, PersonaStore


class Store(Protocol):
    """Everything of one Redis. Every call raises `StoreUnavailable` when it does not answer."""

    @property
    def personas(self) -> PersonaStore: ...

    @property
    def keys(self) -> KeyStore: ...

    @property
    def quotas(self) -> QuotaStore: ...

    async def ping(self) -> None: ...

    async def listen(self, personas: Listener[PersonaKey], keys: Listener[str]) -> None:
        """Report writes until the store is closed; survives the loss of the connection."""
        ...

    async def close(self) -> None: ...
