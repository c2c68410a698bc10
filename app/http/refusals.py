"""Refusals: how errors are answered and counted, ours and those of the framework itself."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app.errors import of_status, to_http
from app.metrics import Metrics, Rejection
from model.errors import (
    InvalidRequest,
    KeyRefused,
    LimitReached,
    OriginRefused,
    OverrideRefused,
    PersonaDualError,
    RoleMissing,
    StoreUnavailable,
    TooLarge,
    UnknownModel,
)

logger = logging.getLogger("personadual.gateway")

WRONG_METHOD, INTERNAL = 405, 500
# First match wins: leaves stand before their parents.
_REJECTIONS: tuple[tuple[type[PersonaDualError], Rejection], ...] = (
    (TooLarge, Rejection.TOO_LARGE),
    (InvalidRequest, Rejection.INVALID),
    (KeyRefused, Rejection.UNAUTHORIZED),
    (RoleMissing, Rejection.FORBIDDEN),
    (OriginRefused, Rejection.FORBIDDEN),
    (OverrideRefused, Rejection.FORBIDDEN),
    (LimitReached, Rejection.LIMITED),
    (UnknownModel, Rejection.UNKNOWN_MODEL),
    (StoreUnavailable, Rejection.STORE_AWAY),
)


def handle_errors(app: FastAPI, metrics: Metrics) -> None:
    """Let every error that ends a request before its first byte be answered in our one shape."""

    def refused(error: PersonaDualError) -> Response:
        for kind, reason in _REJECTIONS:
            if isinstance(error, kind):
                metrics.rejected(reason).inc()
                break
        answer = to_http(error)
        if answer.status == INTERNAL:
            logger.error("%s", error.message)
        return answer.to_response()

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PersonaDualError)
        return refused(error)

    async def arguments(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return refused(InvalidRequest(f"{field}: {first['msg']}", field=field))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = of_status(error.status_code, str(error.detail)).to_response()
        if error.status_code == WRONG_METHOD:
            answer.headers["Allow"] = _methods_of(app, request)
        return answer

    app.add_exception_handler(PersonaDualError, ours)
    app.add_exception_handler(RequestValidationError, arguments)
    app.add_exception_handler(HTTPException, framework)


def _methods_of(app: FastAPI, request: Request) -> str:
    """All methods of a path: the framework itself names those of its first route alone."""
    routes = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
