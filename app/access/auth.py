"""Who calls: from the key that a request shows to its tenant, its roles and its dial."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.access.keys import KeyRing, Role
from app.access.policy import SILENT, Rule
from app.access.quota import UNLIMITED, Limits
from app.settings import Auth
from model.errors import KeyRefused, OriginRefused, RoleMissing, StoreUnavailable

logger = logging.getLogger("personadual.gateway")

MAKE_ONE = "make one on its machine: personadual key create NAME"
SWITCHED_OFF = (
    "API keys are switched off here (PERSONADUAL_AUTH=off), so none is looked at: set it to"
    " auto or required, or use the command personadual key on its machine"
)
NO_PAGES = (
    "no key is asked for here, so web pages of other origins are not served: make a key"
    " (personadual key create NAME), with PERSONADUAL_AUTH=required where it is off; or call from a"
    " program, which sends no Origin; a proxy has to pass on the Host that it was asked for"
)
NO_NAMES = (
    "there are no keys yet, so this gateway answers to its loopback address alone, by the name"
    " localhost, 127.0.0.1 or [::1]; call it so, or make a key (personadual key create NAME)"
)
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom we serve. Without `key_id` it is anyone, where no key is asked for."""

    tenant: str
    roles: tuple[Role, ...] = (Role.CHAT, Role.PERSONAS)
    key_id: str | None = None
    dial: Rule = SILENT
    limits: Limits = UNLIMITED


class Door:
    """Lets callers in: by their key, or, where none is asked for, as the deployment's tenant.

    `Auth.AUTO` asks for keys from the moment one is made; before that it serves those alone who
    reach it by a loopback address or a socket file. A browser on that machine reaches it too, for
    any page that it shows: where no key is asked for, pages of other origins are refused.
    """

    def __init__(self, auth: Auth, tenant: str, ring: KeyRing) -> None:
        self._auth = auth
        self._ring = ring
        self._anyone = Caller(tenant)

    async def look(self) -> None:
        """Learn whether keys are asked for, and say in the log who is let in without one."""
        try:
            is_made = await self._ring.is_any_made()
        except StoreUnavailable:
            if self._auth is Auth.AUTO:
                logger.warning("whether there are API keys is not known before Redis answers")
            return
        if self._auth is Auth.OFF:
            logger.warning("API keys are switched off: whoever reaches this gateway is served")
        elif not is_made:
            where = "nobody" if self._auth is Auth.REQUIRED else "its loopback address alone"
            logger.warning("there are no API keys yet: this gateway serves %s; %s", where, MAKE_ONE)

    async def enter(
        self, scope: Mapping[str, Any], header: str | None, role: Role | None
    ) -> Caller:
        """The caller of a request with this `Authorization` header; with `role` it needs that one.

        Raises:
            KeyRefused: there is no key, or it is unknown.
            OriginRefused: no key is asked for, and a web page of another origin asks.
            RoleMissing: the key is good, and may not do this.
            StoreUnavailable: whether the key is good cannot be told now.
        """
        caller = self._anyone if await self._is_open(scope) else await self._holder(header)
        if role is not None and role not in caller.roles:
            if caller.key_id is None:
                what = f"this needs a key with the role {role}"
                if self._auth is Auth.OFF:
                    raise KeyRefused(f"{what}; {SWITCHED_OFF}")
                raise KeyRefused(f"{what}; {MAKE_ONE} --role {role}")
            raise RoleMissing(f"this key does not have the role {role}")
        return caller

    async def _is_open(self, scope: Mapping[str, Any]) -> bool:
        if self._auth is Auth.REQUIRED:
            return False
        if self._auth is Auth.AUTO and await self._ring.is_any_made():
            return False
        headers = dict(scope.get("headers", ()))
        server = scope.get("server")
        if self._auth is Auth.AUTO and server is not None and server[1] is not None:
            if not is_loopback(server[0]):
                raise KeyRefused(
                    "there are no keys yet, so this gateway answers on its loopback address alone;"
                    f" {MAKE_ONE}"
                )
            _check_host(headers)
        _check_origin(headers)
        return True

    async def _holder(self, header: str | None) -> Caller:
        if header is None or not header[: len(_BEARER)].lower() == _BEARER:
            raise KeyRefused("no API key was given: send the header Authorization: Bearer pd-...")
        key = await self._ring.find(header[len(_BEARER) :].strip())
        if key is None:
            raise KeyRefused("the API key is not known here: it is mistyped, or revoked")
        return Caller(key.tenant, key.roles, key.id, key.dial, key.limits)


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a page of another origin, which a browser names and the page cannot change."""
    origin, host = headers.get(b"origin"), headers.get(b"host", b"")
    if origin is not None and origin.partition(b"://")[2].lower() != (host.lower() or None):
        raise OriginRefused(NO_PAGES, field="Origin")


def _check_host(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a name that a page has lent to this machine's address (DNS rebinding): it would make
    that page one of our own origin."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if host and not is_loopback(name):
        raise OriginRefused(NO_NAMES, field="Host")


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether an address can be reached from its own machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
