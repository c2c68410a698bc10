"""HTTP: reads requests, calls the use case, writes answers. No rule of the product lives here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.chat import Asked, Chat
from app.errors import JSON, from_validation
from app.leaving import EventStream, unless_gone
from app.metrics import CONTENT_TYPE, Metrics
from app.personas import PersonaCache, PersonaStore
from app.readiness import Readiness
from app.replies import extension
from app.schemas import (
    ChatRequest,
    PersonaBody,
    PersonaDeleted,
    PersonaOut,
    PersonaPage,
)
from app.served import Served, ServedModel
from app.settings import Settings
from model.decision import Decision
from model.errors import ClientGone, InvalidRequest, UnknownPersona
from model.mode import Mode
from model.persona import MAX_ID_CHARS, Persona, check_id

MAX_PAGE = 1_000
_CHAT = TypeAdapter(ChatRequest)
_PERSONA = TypeAdapter(PersonaBody)


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


async def _parts(request: Request) -> Parts:
    # Async although it waits for nothing: FastAPI sends a plain function through a thread.
    parts: Parts = request.app.state.parts
    return parts


Deps = Annotated[Parts, Depends(_parts)]
PersonaId = Annotated[
    str, Path(description=f"1 to {MAX_ID_CHARS} of: letters, digits, . _ @ : + ~ = | -")
]


class Direct(APIRoute):
    """A route whose handler takes the request alone: the busiest ones go without FastAPI's
    solving of dependencies, a tenth of what an answer costs here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


router = APIRouter()
busy = APIRouter(route_class=Direct)


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    """Documents a body that the handler reads itself, once and without FastAPI's copy."""
    schema = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    return {"requestBody": {"required": True, "content": {JSON: schema}}}


@busy.post("/v1/chat/completions", tags=["chat"], openapi_extra=_takes(ChatRequest))
async def chat_completions(request: Request) -> Response:
    """Answer, streamed or not; `personadual` in the request and in the reply is ours."""
    parts = await _parts(request)
    asked = await _asked(request, parts.settings.max_messages)
    if asked.request.stream:
        events = await unless_gone(request.receive, parts.chat.open(asked))
        return EventStream(events, parts.settings.sse_keep_alive_s)
    answered = await unless_gone(request.receive, parts.chat.answer(asked))
    headers = {
        "x-personadual-source": answered.decision.source.value,
        "x-personadual-persona": answered.persona.status.value,
    }
    if answered.decision.mode is not None:
        headers["x-personadual-mode"] = answered.decision.mode.value
    return Response(answered.json, headers=headers, media_type=JSON)


@busy.post("/v1/mode", tags=["chat"], openapi_extra=_takes(ChatRequest))
async def decide_mode(request: Request) -> Response:
    """Take the decision alone, in the shape of OpenAI's Decisions API."""
    parts = await _parts(request)
    asked = await _asked(request, parts.settings.max_messages)
    decision, plan, usage = await unless_gone(request.receive, parts.chat.decide(asked))
    return _json(
        {
            "object": "decision",
            "model": asked.request.model or plan.served.name,
            "answers": [_choice(decision)],
            "usage": _usage(usage),
            "personadual": extension(decision, plan),
        }
    )


@router.get("/v1/models", tags=["models"])
async def list_models(parts: Deps) -> Response:
    """The model and the aliases that force a mode."""
    served = await parts.served.get()
    names = [served.name, *served.aliases]
    return _json({"object": "list", "data": [_model(served, name) for name in names]})


@router.get("/v1/models/{model:path}", tags=["models"])
async def get_model(model: str, parts: Deps) -> Response:
    served = await parts.served.get()
    served.forced_by(model)
    return _json(_model(served, model))


@router.get("/v1/personas", tags=["personas"])
async def list_personas(
    parts: Deps,
    after: Annotated[str | None, Query(description="`next_after` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> PersonaPage:
    """Ids in order, a page at a time."""
    if after is not None:
        check_id(after, "after")
    page = await parts.store.list_ids(parts.settings.tenant, after, limit)
    return PersonaPage(ids=page.ids, next_after=page.next_after)


@router.put("/v1/personas/{persona_id}", tags=["personas"], openapi_extra=_takes(PersonaBody))
async def put_persona(request: Request, persona_id: PersonaId, parts: Deps) -> PersonaOut:
    """Write a persona; its version counts up. All gateways use it from their next request on."""
    key = (parts.settings.tenant, check_id(persona_id, "persona_id"))
    body: PersonaBody = _validated(_PERSONA, await _json_object(request))
    stored = await parts.store.put(key, Persona(body.text, body.attributes), body.ttl_s)
    parts.personas.forget(key)
    return _persona_out(persona_id, stored)


@router.get("/v1/personas/{persona_id}", tags=["personas"])
async def get_persona(persona_id: PersonaId, parts: Deps) -> PersonaOut:
    key = (parts.settings.tenant, check_id(persona_id, "persona_id"))
    persona = await parts.store.get(key)
    if persona is None:
        raise UnknownPersona("there is no persona with this id", field="persona_id")
    return _persona_out(persona_id, persona)


@router.delete("/v1/personas/{persona_id}", tags=["personas"])
async def delete_persona(persona_id: PersonaId, parts: Deps) -> PersonaDeleted:
    key = (parts.settings.tenant, check_id(persona_id, "persona_id"))
    if not await parts.store.delete(key):
        raise UnknownPersona("there is no persona with this id", field="persona_id")
    parts.personas.forget(key)
    return PersonaDeleted(id=persona_id, deleted=True)


@router.get("/health/live", tags=["health"])
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/health/ready", tags=["health"])
async def ready(parts: Deps) -> Response:
    """Redis, the engine and its gate answer: 200, else 503 with what is missing."""
    report = await parts.readiness.report()
    is_ready = all(state == "ok" for state in report.values())
    content = {"status": "ok" if is_ready else "unavailable", "checks": report}
    return Response(orjson.dumps(content), 200 if is_ready else 503, media_type=JSON)


@router.get("/metrics", tags=["health"])
async def metrics(parts: Deps) -> Response:
    return Response(parts.metrics.render(), media_type=CONTENT_TYPE)


async def _asked(request: Request, max_messages: int) -> Asked:
    raw = await _json_object(request)
    messages = raw.get("messages")
    if isinstance(messages, list) and len(messages) > max_messages:
        # Before validation, which would look at each of them first.
        raise InvalidRequest(
            f"messages holds {len(messages)} entries; at most {max_messages} fit", field="messages"
        )
    header = request.headers.get("x-persona-id")
    return Asked(_validated(_CHAT, raw), raw, header, request.state.watch)


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        raw = orjson.loads(await request.body())
    except ClientDisconnect as error:
        raise ClientGone("the caller left during its upload") from error
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error.msg}", field="body") from error
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object", field="body")
    return raw


def _validated(adapter: TypeAdapter[Any], raw: dict[str, Any]) -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        raise from_validation(error) from error


def _json(content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type=JSON)


def _model(served: Served, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "personadual",
        "max_model_len": served.max_model_len,
    }


def _choice(decision: Decision) -> dict[str, Any]:
    personalized = decision.probability or 0.0
    probabilities = {Mode.GENERAL: 1.0 - personalized, Mode.PERSONALIZED: personalized}
    taken = probabilities[decision.mode or Mode.GENERAL]
    return {
        "type": "choice",
        "name": "mode",
        "choice": decision.mode,
        "probabilities": [
            {"value": mode, "probability": probability}
            for mode, probability in probabilities.items()
        ],
        "confidence": taken * (decision.mass or 0.0),
    }


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The engine's counts under the names of the Decisions API."""
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def _persona_out(persona_id: str, persona: Persona) -> PersonaOut:
    return PersonaOut(
        id=persona_id,
        text=persona.text,
        attributes=dict(persona.attributes),
        version=persona.version,
        updated_at=persona.updated_at,
    )
