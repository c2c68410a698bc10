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

from app.chat import Chat
from app.errors import JSON, from_validation
from app.metrics import Metrics
from app.personas import PersonaCache, PersonaStore
from app.readiness import Readiness
from app.served import ServedModel
from app.settings import Settings
from model.errors import ClientGone, InvalidRequest


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes need; made once, in `app.main`."""

    settings: Settings
    chat: Chat
    served: ServedModel
    store: PersonaStore
    personas: PersonaCache
    metrics: Metrics
    readiness: Readiness


async def parts_of(request: Request) -> Parts:
    # Async although it waits for nothing: FastAPI sends a plain function through a thread.
    parts: Parts = request.app.state.parts
    return parts


Deps = Annotated[Parts, Depends(parts_of)]


class Direct(APIRoute):
    """A route whose handler takes the request alone: the busiest ones go without FastAPI's
    solving of dependencies, a tenth of what an answer costs here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Documents a body that the handler reads itself, once and without FastAPI's copy."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {JSON: schema}}}


async def json_object(request: Request) -> dict[str, Any]:
    try:
        raw = orjson.loads(await request.body())
    except ClientDisconnect as error:
        raise ClientGone("the caller left during its upload") from error
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error.msg}", field="body") from error
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object", field="body")
    return raw


def validated(adapter: TypeAdapter[Any], raw: dict[str, Any]) -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        raise from_validation(error) from error
