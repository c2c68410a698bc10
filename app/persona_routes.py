"""HTTP: the personas of the caller's tenant. No other tenant can be named."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import TypeAdapter

from app.auth import Caller
from app.keys import Role
from app.parts import Deps, caller_with, json_object, takes, validated
from app.schemas import ID_RULE, PersonaBody, PersonaDeleted, PersonaOut, PersonaPage
from model.errors import UnknownPersona
from model.persona import MAX_ID_CHARS, Persona, check_id

MAX_PAGE = 1_000
Holder = Annotated[Caller, caller_with(Role.PERSONAS)]
_PERSONA = TypeAdapter(PersonaBody)
PersonaId = Annotated[
    str,
    Path(
        description=f"1 to {MAX_ID_CHARS} of: letters, digits, . _ @ : + ~ = | -",
        json_schema_extra=ID_RULE,
    ),
]

router = APIRouter(tags=["personas"])


@router.get("/v1/personas")
async def list_personas(
    parts: Deps,
    caller: Holder,
    after: Annotated[
        str | None,
        Query(description="`next_after` of the page before.", json_schema_extra=ID_RULE),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> PersonaPage:
    """Ids in order, a page at a time."""
    if after is not None:
        check_id(after, "after")
    page = await parts.store.personas.list_ids(caller.tenant, after, limit)
    return PersonaPage(ids=page.ids, next_after=page.next_after)


@router.put("/v1/personas/{persona_id}", openapi_extra=takes(PersonaBody))
async def put_persona(
    request: Request, persona_id: PersonaId, parts: Deps, caller: Holder
) -> PersonaOut:
    """Write a persona; its version counts up. All gateways use it from their next request on."""
    key = (caller.tenant, check_id(persona_id, "persona_id"))
    body: PersonaBody = validated(_PERSONA, await json_object(request))
    stored = await parts.store.personas.put(key, Persona(body.text, body.attributes), body.ttl_s)
    parts.personas.forget(key)
    return _persona_out(persona_id, stored)


@router.get("/v1/personas/{persona_id}")
async def get_persona(persona_id: PersonaId, parts: Deps, caller: Holder) -> PersonaOut:
    key = (caller.tenant, check_id(persona_id, "persona_id"))
    persona = await parts.store.personas.get(key)
    if persona is None:
        raise UnknownPersona("there is no persona with this id", field="persona_id")
    return _persona_out(persona_id, persona)


@router.delete("/v1/personas/{persona_id}")
async def delete_persona(persona_id: PersonaId, parts: Deps, caller: Holder) -> PersonaDeleted:
    key = (caller.tenant, check_id(persona_id, "persona_id"))
    if not await parts.store.personas.delete(key):
        raise UnknownPersona("there is no persona with this id", field="persona_id")
    parts.personas.forget(key)
    return PersonaDeleted(id=persona_id, deleted=True)


def _persona_out(persona_id: str, persona: Persona) -> PersonaOut:
    return PersonaOut(
        id=persona_id,
        text=persona.text,
        attributes=dict(persona.attributes),
        version=persona.version,
        updated_at=persona.updated_at,
    )
