"""HTTP: the keys of the deployment, for callers with the role admin."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import TypeAdapter

from app.access import audit
from app.access.auth import Caller
from app.access.key_schemas import KeyBody, KeyList, KeyMade, KeyOut, KeyRevoked
from app.access.keys import Role, make_key
from app.http.parts import Deps, caller_with, json_object, takes, validated
from model.errors import UnknownKey

_BODY = TypeAdapter(KeyBody)
Admin = Annotated[Caller, caller_with(Role.ADMIN)]

router = APIRouter(tags=["keys"])


@router.post("/v1/keys", openapi_extra=takes(KeyBody))
async def create_key(request: Request, parts: Deps, admin: Admin) -> KeyMade:
    """Make a key. `key` in the answer is the secret itself: it is shown this once."""
    body: KeyBody = validated(_BODY, await json_object(request))
    tenant = body.tenant or parts.settings.tenant
    text, key = make_key(body.name, tenant, tuple(body.roles), body.dial, body.limits)
    await parts.store.keys.create(key)
    parts.ring.forget(key.id)
    audit.record("key_created", admin.key_id, key=key.id, name=key.name, tenant=key.tenant)
    return KeyMade.of(key, key=text)


@router.get("/v1/keys")
async def list_keys(parts: Deps, admin: Admin) -> KeyList:
    """All keys, the oldest first, without their secrets."""
    keys = await parts.store.keys.list()
    audit.record("keys_listed", admin.key_id)
    return KeyList(keys=[KeyOut.of(key) for key in keys])


@router.delete("/v1/keys/{key_id}")
async def revoke_key(
    key_id: Annotated[str, Path(max_length=64)], parts: Deps, admin: Admin
) -> KeyRevoked:
    """Revoke a key: no gateway takes it any more."""
    is_gone = await parts.store.keys.revoke(key_id)
    parts.ring.forget(key_id)
    if not is_gone:
        raise UnknownKey("there is no key with this id", field="key_id")
    audit.record("key_revoked", admin.key_id, key=key_id)
    return KeyRevoked(id=key_id, revoked=True)
