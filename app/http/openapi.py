"""What `/docs` and `/openapi.json` say beyond what the framework finds out by itself.

Bodies that handlers read themselves, answers that they write themselves, errors in our one shape,
and the key. `tests/test_openapi.py` holds the gateway to it.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from app.access.key_schemas import KeyBody
from app.errors import JSON
from app.schemas import ChatRequest, PersonaBody, PersonaLine, PersonaPatch, ReplyExtension
from app.settings import Auth, Settings

_REF = "#/components/schemas/"
_OPEN_TO_ALL = ("/health/", "/metrics")
_TEXT = "text/plain"
_EVENTS = "text/event-stream"

_EVENT = {
    "description": "Of a stream, each event: `data` is a chunk of OpenAI's, an error, or `[DONE]`.",
    "type": "object",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}


class Error(BaseModel):
    message: str = Field(description="What is wrong, and what to do.")
    type: str
    param: str | None = Field(description="The field that is wrong.")
    code: str = Field(description="Stable; what programs should compare.")


class ErrorBody(BaseModel):
    """Every error: OpenAI's error object."""

    error: Error


class _Passed(BaseModel):
    """Carries more than is named here."""

    model_config = ConfigDict(extra="allow")


class ChatChoice(_Passed):
    index: int
    message: dict[str, Any]
    finish_reason: str | None


class ChatCompletion(_Passed):
    """OpenAI's chat completion, with `personadual`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: dict[str, Any] | None = None
    personadual: ReplyExtension


class DecisionBody(_Passed):
    """A decision in the shape of OpenAI's Decisions API."""

    object: Literal["decision"]
    model: str
    answers: list[dict[str, Any]]
    usage: dict[str, Any]
    personadual: ReplyExtension


class ModelBody(_Passed):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None
    threshold: float = Field(description="What holds for the caller where a request names none.")


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelBody]


class ReadinessBody(BaseModel):
    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = Field(description="`ok` or the reason, by name.")


_BODIES = (ChatRequest, KeyBody, PersonaBody, PersonaLine, PersonaPatch)
_ANSWERS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/mode": DecisionBody,
    "/v1/models": ModelList,
    "/v1/models/{model}": ModelBody,
    "/health/ready": ReadinessBody,
}


def document(app: FastAPI, settings: Settings) -> None:
    """Let the application describe itself as it is; made once, when first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI, settings: Settings) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = schema.setdefault("components", {})
    known = components.setdefault("schemas", {})
    models: tuple[type[BaseModel], ...] = (*_BODIES, *_ANSWERS.values(), ErrorBody)
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF + "{model}"
    )
    known.update(found["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    if settings.auth is not Auth.OFF:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _mend(path, operation)
            if settings.auth is not Auth.OFF and not path.startswith(_OPEN_TO_ALL):
                operation["security"] = [{"key": []}]
    return schema


def _mend(path: str, operation: dict[str, Any]) -> None:
    """Its answers as they are, and every error in our shape."""
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = _answer("An error.", ErrorBody)
    model = _ANSWERS.get(path)
    if model is not None:
        responses["200"] = _answer("The answer.", model)
    if path == "/v1/chat/completions":
        responses["200"]["content"][_EVENTS] = {"schema": _EVENT}
    elif path == "/health/ready":
        responses["503"] = _answer("Something is missing.", ReadinessBody)
    elif path == "/metrics":
        responses["200"]["content"] = {_TEXT: {"schema": {"type": "string"}}}


def _answer(description: str, model: type[BaseModel]) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": _REF + model.__name__}}}
    return {"description": description, "content": content}
