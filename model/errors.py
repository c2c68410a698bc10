"""Every expected failure, as one tree. Only `app.errors` knows which HTTP status a leaf has.

PersonaDualError
├── InvalidRequest            what a caller sent is wrong; `field` names the place
│   ├── TooLarge              the body is over the limit
│   └── EncodingRefused       the body is compressed
├── KeyRefused                no API key, or one that is not known
├── RoleMissing               the key may not do this
├── OriginRefused             a web page asks where no key is asked for, and is not of the gateway
├── OverrideRefused           a request asks for what policy does not leave to it
├── LimitReached              a key's limit is; `retry_after_s` says for how long
├── NotFound                  what the caller names does not exist
│   ├── UnknownKey
│   ├── UnknownModel
│   └── UnknownPersona
├── StoreUnavailable          Redis does not answer
├── EngineError               the engine did not give what we asked for
│   ├── EngineUnavailable     no connection
│   │   └── EngineBusy        it says that it is overloaded, or starting
│   ├── EngineTimeout         it did not answer in time
│   ├── EngineRejected        it refused the request; carries its status and error object
│   └── EngineBroken          it answered what no engine should (not JSON, cut stream)
├── ClientGone                the caller left; nobody reads an answer
├── GatewayEnding             the gateway ends; another one, or the next, can answer
├── PolicyInvalid             a policy file cannot be used; `field` names the place
├── CardInvalid               `personadual.json` is malformed; `field` names the place
├── CheckpointInvalid         the checkpoint folder cannot be used
├── StartFailed               the service cannot start: a port, a binary, memory, a child
├── GatewayUnavailable        no gateway answers a command, or its answer broke off
├── GatewayRefused            a gateway refuses what a command asks; carries its status
├── ConfigInvalid             a configuration or recipe cannot be run; the message names the field
├── DataInvalid               a data file holds what cannot be used; it names line and field
│   └── NoText                a field of a row is null
├── TeacherFailed             the teacher of a build cannot be used, or fails all the time
├── QuotaMissed               a build has fewer rows than its recipe asks for
├── EndpointUnusable          an endpoint under evaluation cannot be asked at all
├── RunDiffers                a run's folder holds the answers to other questions
└── NotComparable             two runs have no question in common

The last eight belong to `training`, and are defined beside what raises them.
"""

from __future__ import annotations

from collections.abc import Mapping


class PersonaDualError(Exception):
    """Root of the tree. `code` is stable and is what programs should compare."""

    code = "internal_error"
    exit_code = 1
    """Exit code of a command that fails with it."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidRequest(PersonaDualError):
    code = "invalid_request"


class TooLarge(InvalidRequest):
    code = "body_too_large"


class EncodingRefused(InvalidRequest):
    code = "unsupported_encoding"


class KeyRefused(PersonaDualError):
    code = "invalid_api_key"


class RoleMissing(PersonaDualError):
    code = "missing_role"


class OriginRefused(PersonaDualError):
    code = "origin_not_allowed"


class OverrideRefused(PersonaDualError):
    code = "override_not_allowed"


class LimitReached(PersonaDualError):
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFound(PersonaDualError):
    code = "not_found"


class UnknownKey(NotFound):
    code = "key_not_found"


class UnknownModel(NotFound):
    code = "model_not_found"


class UnknownPersona(NotFound):
    code = "persona_not_found"


class StoreUnavailable(PersonaDualError):
    code = "store_unavailable"


class EngineError(PersonaDualError):
    code = "engine_error"


class EngineUnavailable(EngineError):
    code = "engine_unavailable"


class EngineBusy(EngineUnavailable):
    """One code for both: what a caller does is the same, to come again."""


class EngineTimeout(EngineError):
    code = "engine_timeout"


class EngineBroken(EngineError):
    code = "engine_broken"


class EngineRejected(EngineError):
    """The engine's own 4xx. `status` and `error` are what it said, for the caller to read."""

    code = "engine_rejected"

    def __init__(self, status: int, error: Mapping[str, object]) -> None:
        field = error.get("param")
        super().__init__(
            str(error.get("message") or f"the engine answered {status}"),
            field=field if isinstance(field, str) else None,
        )
        self.status = status
        self.error = error


class ClientGone(PersonaDualError):
    code = "client_gone"


class GatewayEnding(PersonaDualError):
    code = "gateway_ending"


class PolicyInvalid(PersonaDualError):
    code = "policy_invalid"


class CardInvalid(PersonaDualError):
    code = "card_invalid"


class CheckpointInvalid(PersonaDualError):
    code = "checkpoint_invalid"


class StartFailed(PersonaDualError):
    code = "start_failed"


class GatewayUnavailable(PersonaDualError):
    code = "gateway_unavailable"
    exit_code = 3


class GatewayRefused(PersonaDualError):
    """What a gateway said instead of an answer, and the HTTP status with which it said so."""

    code = "gateway_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
