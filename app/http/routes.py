"""HTTP: reads requests, calls the use case, writes answers. No rule of the product lives here."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from app.access.auth import Caller
from app.chat.replies import extension
from app.chat.served import Served
from app.chat.use_case import Asked
from app.errors import JSON, RETRY_AFTER_S
from app.http.leaving import EventStream, unless_gone
from app.http.parts import (
    Deps,
    Direct,
    admitted,
    caller_with,
    json_object,
    parts_of,
    takes,
    validated,
)
from app.metrics import CONTENT_TYPE
from app.schemas import ChatRequest
from model.decision import Decision
from model.errors import InvalidRequest
from model.mode import Mode

Holder = Annotated[Caller, caller_with(None)]
_CHAT = TypeAdapter(ChatRequest)


router = APIRouter()
busy = APIRouter(route_class=Direct)


@busy.post("/v1/chat/completions", tags=["chat"], openapi_extra=takes(ChatRequest))
async def chat_completions(request: Request) -> Response:
    """Answer, streamed or not; `personadual` in the request and in the reply is ours."""
    parts = await parts_of(request)
    caller = await admitted(request)
    asked = await _asked(request, caller, parts.settings.max_messages)
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


@busy.post("/v1/mode", tags=["chat"], openapi_extra=takes(ChatRequest))
async def decide_mode(request: Request) -> Response:
    """Take the decision alone, in the shape of OpenAI's Decisions API."""
    parts = await parts_of(request)
    caller = await admitted(request)
    asked = await _asked(request, caller, parts.settings.max_messages)
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
async def list_models(parts: Deps, caller: Holder) -> Response:
    """The model and the aliases that force a mode."""
    served = await parts.served.get()
    threshold = parts.chat.threshold(caller, served)
    names = [served.name, *served.aliases]
    return _json({"object": "list", "data": [_model(served, name, threshold) for name in names]})


@router.get("/v1/models/{model:path}", tags=["models"])
async def get_model(model: str, parts: Deps, caller: Holder) -> Response:
    served = await parts.served.get()
    served.forced_by(model)
    return _json(_model(served, model, parts.chat.threshold(caller, served)))


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
    status, headers = (200, {}) if is_ready else (503, {"Retry-After": str(RETRY_AFTER_S)})
    return Response(orjson.dumps(content), status, headers, JSON)


@router.get("/metrics", tags=["health"])
async def metrics(parts: Deps) -> Response:
    return Response(parts.metrics.render(), media_type=CONTENT_TYPE)


async def _asked(request: Request, caller: Caller, max_messages: int) -> Asked:
    raw = await json_object(request)
    messages = raw.get("messages")
    if isinstance(messages, list) and len(messages) > max_messages:
        # Before validation, which would look at each of them first.
        raise InvalidRequest(
            f"messages holds {len(messages)} entries; at most {max_messages} fit", field="messages"
        )
    header = request.headers.get("x-persona-id")
    return Asked(validated(_CHAT, raw), raw, header, request.state.course, caller)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type=JSON)


def _model(served: Served, name: str, threshold: float) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "personadual",
        "max_model_len": served.max_model_len,
        "threshold": threshold,
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
