"""What the routes share: the parts that they need, and how a body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.access.auth import Caller, Door
from app.access.keys import KeyRing, Role
from app.access.quota import Quota
from app.chat.served import ServedModel
from app.chat.use_case import Chat
from app.errors import JSON
from app.http.readiness import Readiness
from app.metrics import Metrics
from app.personas import PersonaCache
from app.settings import Settings
from app.store import Store
from model.errors import ClientGone, EncodingRefused, InvalidRequest
from model.validation import from_validation

PLAIN = "identity"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes need; made once, in `app.main`."""

    settings: Settings
    chat: Chat
    served: ServedModel
    store: Store
    personas: PersonaCache
    ring: KeyRing
    door: Door
    quota: Quota
    metrics: Metrics
    readiness: Readiness


async def parts_of(request: Request) -> Parts:
    # Async although it waits for nothing: FastAPI sends a plain function through a thread.
    parts: Parts = request.app.state.parts
    return parts


Deps = Annotated[Parts, Depends(parts_of)]


async def caller_of(request: Request, role: Role | None) -> Caller:
    """Who calls, and that it may.

    Raises:
        PersonaDualError: the key is missing, unknown or may not, or that cannot be told.
    """
    parts = await parts_of(request)
    return await parts.door.enter(request.scope, request.headers.get("authorization"), role)


async def admitted(request: Request) -> Caller:
    """Who asks for an answer, and that it may, now.

    Raises:
        PersonaDualError: as `caller_of`, or one of the key's limits is reached.
    """
    caller = await caller_of(request, Role.CHAT)
    parts = await parts_of(request)
    await parts.quota.admit(caller.key_id, caller.limits, request.scope["state"])
    return caller


def caller_with(role: Role | None) -> Any:
    """Marks a handler's parameter as its caller, who needs a role."""

    async def enter(request: Request) -> Caller:
        return await caller_of(request, role)

    return Depends(enter)


class Direct(APIRoute):
    """A route whose handler takes the request alone: the busiest ones go without FastAPI's
    solving of dependencies, a tenth of what an answer costs here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def takes(model: type[BaseModel], media_type: str = JSON) -> dict[str, Any]:
    """Documents a body that the handler reads itself, once and without FastAPI's copy."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {media_type: schema}}}


async def json_object(request: Request) -> dict[str, Any]:
    """The body as it is sent.

    Raises:
        InvalidRequest: it is compressed, or no JSON object.
        ClientGone: the caller left before it was whole.
    """
    check_plain(request)
    try:
        return parsed_object(await request.body(), "body")
    except ClientDisconnect as error:
        raise ClientGone("the caller left during its upload") from error


def check_plain(request: Request) -> None:
    """Refuse a compressed body: it could grow a thousandfold here.

    Raises:
        EncodingRefused: it is one.
    """
    if request.headers.get("content-encoding", PLAIN).lower() != PLAIN:
        raise EncodingRefused(
            "content-encoding: send the body as it is, not compressed", field="content-encoding"
        )


def parsed_object(text: bytes, place: str) -> dict[str, Any]:
    """The JSON object that a text is; `place` names it in errors."""
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the {place} is not JSON: {error.msg}", field=place) from error
    if not isinstance(raw, dict):
        raise InvalidRequest(f"the {place} must be a JSON object", field=place)
    return raw


def validated(adapter: TypeAdapter[Any], raw: dict[str, Any]) -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        raise from_validation(error) from error
