"""The one table that knows HTTP: which status an error of our tree has, and how it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from model.errors import (
    ClientGone,
    EncodingRefused,
    EngineBroken,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    GatewayEnding,
    InvalidRequest,
    KeyRefused,
    LimitReached,
    NotFound,
    OriginRefused,
    OverrideRefused,
    PersonaDualError,
    RoleMissing,
    StoreUnavailable,
    TooLarge,
)

RETRY_AFTER_S = 2
MAX_MESSAGE_CHARS = 500
JSON = "application/json"
ENGINE_KEY = "engine_key"

# First match wins: leaves stand before their parents.
_STATUS: tuple[tuple[type[PersonaDualError], int, str], ...] = (
    (TooLarge, 413, "invalid_request_error"),
    (EncodingRefused, 415, "invalid_request_error"),
    (InvalidRequest, 400, "invalid_request_error"),
    (KeyRefused, 401, "invalid_request_error"),
    (RoleMissing, 403, "invalid_request_error"),
    (OriginRefused, 403, "invalid_request_error"),
    (OverrideRefused, 403, "invalid_request_error"),
    (LimitReached, 429, "rate_limit_error"),
    (NotFound, 404, "invalid_request_error"),
    (StoreUnavailable, 503, "service_unavailable_error"),
    (EngineUnavailable, 503, "service_unavailable_error"),
    (GatewayEnding, 503, "service_unavailable_error"),
    (EngineTimeout, 504, "timeout_error"),
    (EngineBroken, 502, "api_error"),
    (ClientGone, 499, "client_gone"),
)
# What no second try changes, although its status says that one may.
_FINAL = frozenset({ENGINE_KEY})
_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


@dataclass(frozen=True, slots=True)
class HttpError:
    """An OpenAI error object and its status."""

    status: int
    message: str
    type: str
    code: str
    param: str | None = None
    retry_after_s: float | None = None

    def to_json(self) -> bytes:
        return orjson.dumps(
            {
                "error": {
                    "message": self.message[:MAX_MESSAGE_CHARS],
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )

    def to_event(self) -> bytes:
        """The final event of a stream that fails after its first byte."""
        return b"data: " + self.to_json() + b"\n\n"

    def headers(self) -> dict[str, str]:
        """What says whether, and when, to come again."""
        is_final = self.status < 429 or self.code in _FINAL
        headers = {"x-should-retry": "false"} if is_final else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(math.ceil(self.retry_after_s))
            headers["retry-after-ms"] = str(math.ceil(self.retry_after_s * 1000))
        return headers

    def to_response(self) -> Response:
        return Response(self.to_json(), self.status, self.headers(), JSON)


def to_http(error: PersonaDualError) -> HttpError:
    """Find the status of an error."""
    if isinstance(error, EngineRejected):
        return _relay(error)
    for kind, status, type_ in _STATUS:
        if isinstance(error, kind):
            wait_s = error.retry_after_s if isinstance(error, LimitReached) else None
            return HttpError(status, error.message, type_, error.code, error.field, wait_s)
    return HttpError(500, "the gateway failed; its log knows more", "api_error", "internal_error")


def of_status(status: int, message: str) -> HttpError:
    """What the framework itself refuses: an unknown path, a wrong method."""
    return HttpError(status, message, "invalid_request_error", _OF_STATUS.get(status, "http_error"))


def _relay(error: EngineRejected) -> HttpError:
    """The engine's own refusal, in OpenAI's words: `code` is a string, schema errors are 400."""
    status = 400 if error.status == 422 else error.status
    if status in (401, 403):
        # The engine refuses our key, not the caller's.
        return HttpError(502, "the engine refuses the gateway's key", "api_error", ENGINE_KEY)
    code = "context_length_exceeded" if _is_too_long(error.error) else "invalid_request"
    return HttpError(status, error.message, "invalid_request_error", code, error.field)


def _is_too_long(error: Any) -> bool:
    """vLLM names the parameter, not the cause; its sentence is all there is to tell one by."""
    return "maximum context length" in str(error.get("message", ""))
