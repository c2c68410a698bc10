"""HTTP: the personas of the caller's tenant. No other tenant can be named."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.access.auth import Caller
from app.access.keys import Role
from app.http.leaving import EventStream
from app.http.parts import Deps, Parts, caller_with, check_plain, json_object, takes, validated
from app.http.persona_lines import Import, check_new_id, open_export
from app.jsonl import EXPORT_PATH, IMPORT_PATH, JSON_LINES
from app.personas import Entry, Keep, PersonaKey
from app.schemas import (
    ID_RULE,
    ImportReport,
    PersonaBody,
    PersonaDeleted,
    PersonaLine,
    PersonaOut,
    PersonaPage,
    PersonaPatch,
)
from model.errors import ClientGone, UnknownPersona
from model.persona import ID_CHARACTERS, MAX_ID_CHARS, Persona, check_id

T = TypeVar("T")
MAX_PAGE = 1_000
Holder = Annotated[Caller, caller_with(Role.PERSONAS)]
_PERSONA = TypeAdapter(PersonaBody)
_PATCH = TypeAdapter(PersonaPatch)
_GIVES_LINES: dict[str, Any] = {"responses": {"200": {"content": {JSON_LINES: {}}}}}
PersonaId = Annotated[
    str,
    Path(
        description=f"1 to {MAX_ID_CHARS} of: {ID_CHARACTERS}",
        json_schema_extra=ID_RULE,
    ),
]

router = APIRouter(tags=["personas"])


async def key_of(persona_id: PersonaId, caller: Holder) -> PersonaKey:
    return caller.tenant, check_id(persona_id, "persona_id")


Named = Annotated[PersonaKey, Depends(key_of)]


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
async def put_persona(request: Request, key: Named, parts: Deps) -> PersonaOut:
    """Write a persona; its version counts up. All gateways use it from their next request on."""
    tenant, persona_id = key
    check_new_id(persona_id, "persona_id")
    body: PersonaBody = validated(_PERSONA, await json_object(request))
    entry = Entry(persona_id, Persona(body.text, body.attributes), body.ttl_s)
    return _written(parts, key, await parts.store.personas.put(tenant, entry))


@router.patch("/v1/personas/{persona_id}", openapi_extra=takes(PersonaPatch))
async def patch_persona(request: Request, key: Named, parts: Deps) -> PersonaOut:
    """Change a persona by a JSON merge patch; writes of others in between are kept."""
    patch: PersonaPatch = validated(_PATCH, await json_object(request))
    ttl_s = patch.ttl_s if "ttl_s" in patch.model_fields_set else Keep.TTL
    changed = await parts.store.personas.change(key, lambda old: _merged(old, patch), ttl_s)
    return _written(parts, key, _found(changed))


# Before the route of an id, which these two words would be.
@router.get(EXPORT_PATH, response_class=Response, openapi_extra=_GIVES_LINES)
async def export_personas(
    parts: Deps,
    caller: Holder,
    after: Annotated[
        str | None,
        Query(description="Id of the last line that you have.", json_schema_extra=ID_RULE),
    ] = None,
) -> Response:
    """All personas as JSON lines, in the order of their ids."""
    if after is not None:
        check_id(after, "after")
    lines = await open_export(parts.store.personas, caller.tenant, after)
    return EventStream(lines, media_type=JSON_LINES)


@router.post(IMPORT_PATH, openapi_extra=takes(PersonaLine, JSON_LINES))
async def import_personas(request: Request, parts: Deps, caller: Holder) -> ImportReport:
    """Write a persona per line. Lines that are wrong are reported and stop nothing."""
    check_plain(request)
    work = Import(parts.store.personas, parts.personas, caller.tenant)
    try:
        return await work.read(request.stream())
    except ClientDisconnect as error:
        raise ClientGone("the caller left during its upload") from error


@router.get("/v1/personas/{persona_id}")
async def get_persona(key: Named, parts: Deps) -> PersonaOut:
    return _persona_out(_found(await parts.store.personas.read(key)))


@router.delete("/v1/personas/{persona_id}")
async def delete_persona(key: Named, parts: Deps) -> PersonaDeleted:
    _found(await parts.store.personas.delete(key))
    parts.personas.forget(key)
    return PersonaDeleted(id=key[1], deleted=True)


def _merged(old: Persona, patch: PersonaPatch) -> Persona:
    text = patch.text if "text" in patch.model_fields_set else old.text
    attributes = dict(old.attributes)
    if "attributes" in patch.model_fields_set:
        if patch.attributes is None:
            attributes.clear()
        for name, value in (patch.attributes or {}).items():
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value
    return Persona(text, attributes)


def _found(stored: T | None) -> T:
    if not stored:
        raise UnknownPersona("there is no persona with this id", field="persona_id")
    return stored


def _written(parts: Parts, key: PersonaKey, stored: Entry) -> PersonaOut:
    """What was written; this gateway looks it up anew, the others hear it from the store."""
    parts.personas.forget(key)
    return _persona_out(stored)


def _persona_out(stored: Entry) -> PersonaOut:
    persona = stored.persona
    return PersonaOut(
        id=stored.id,
        text=persona.text,
        attributes=dict(persona.attributes),
        version=persona.version,
        updated_at=persona.updated_at,
        ttl_s=stored.ttl_s,
    )
