"""What callers send and get, checked at the edge. Unknown fields of a chat request pass through."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
)

from app.number import WHOLE
from model.decision import Source
from model.mode import Isolation, Mode, ModeWish
from model.persona import (
    CONTROL_CLASS,
    ID_CLASS,
    MAX_ATTRIBUTE_CHARS,
    MAX_ATTRIBUTES,
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    Attribute,
    PersonaStatus,
)

MAX_TOKENS = 2**31

# What `model.persona` checks, said to the readers of `/docs`: something visible, and no control
# characters but line breaks.
TEXT_RULE: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_TEXT_CHARS,
    "pattern": rf"^[^{CONTROL_CLASS}]*[^\s{CONTROL_CLASS}][^{CONTROL_CLASS}]*$",
}
NAME_RULE: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_ATTRIBUTE_CHARS,
    "pattern": f"^[^{CONTROL_CLASS}]*$",
}
ID_RULE: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_ID_CHARS,
    "pattern": f"^[{ID_CLASS}]+$",
}
ATTRIBUTES_RULE: dict[str, Any] = {
    "maxProperties": MAX_ATTRIBUTES,
    "propertyNames": NAME_RULE,
    "additionalProperties": {
        "anyOf": [
            {"type": "string", **NAME_RULE},
            {"type": "number"},
            {"type": "boolean"},
        ]
    },
}
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


TtlSeconds = Annotated[int, Field(ge=1, le=315_360_000, strict=True), WHOLE]


class Extension(BaseModel):
    """`personadual` in a request: all optional."""

    model_config = ConfigDict(extra="forbid")

    mode: ModeWish | None = Field(None, description="Let the model decide, or force a mode.")
    threshold: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        None, description="Probability of personalised mode at or above which it is taken."
    )
    isolation: Isolation | None = Field(
        None, description="`strict`: a general answer never has the persona in its context."
    )
    persona_id: Annotated[StrictStr, Field(json_schema_extra=ID_RULE)] | None = Field(
        None, description="Whose persona; null switches persona and statistics off."
    )
    persona: Annotated[StrictStr, Field(json_schema_extra=TEXT_RULE)] | None = Field(
        None, description="The persona's text itself, for this request alone."
    )
    decision: Literal["threshold", "sample"] | None = Field(
        None, description="`sample` draws the mode with its probability."
    )


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Role
    content: StrictStr | list[dict[str, Any]] | None = None


class ChatRequest(BaseModel):
    """An OpenAI chat completion request; every other parameter that vLLM takes passes through."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "model": "pocket",
                "user": "ada",
                "messages": [{"role": "user", "content": "What should I cook tonight?"}],
            }
        },
    )

    model: StrictStr | None = Field(None, description="The served model or one of its aliases.")
    messages: list[Message] = Field(min_length=1)
    stream: StrictBool | None = None
    n: Annotated[int, Field(ge=1, le=128, strict=True), WHOLE] | None = None
    temperature: Annotated[float, Field(ge=0, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS, strict=True), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS, strict=True), WHOLE] | None = (
        None
    )
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS, strict=True), WHOLE] | None = None
    stop: StrictStr | list[StrictStr] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[int, Field(ge=0, strict=True), WHOLE] | None = None
    stream_options: dict[str, Any] | None = None
    include_reasoning: StrictBool | None = None
    vllm_xargs: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    allowed_token_ids: list[Annotated[int, Field(strict=True), WHOLE]] | None = None
    # Strict, because the engine reads "198" and "198.0" as the token 198.
    stop_token_ids: list[Annotated[int, Field(strict=True), WHOLE]] | None = None
    user: StrictStr | None = Field(None, description="Persona id, where nothing else names one.")
    safety_identifier: StrictStr | None = None
    personadual: Extension = Extension()


class PersonaBody(BaseModel):
    """What `PUT /v1/personas/{id}` takes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"text": "Vegan, cooks for two, lives in Lisbon."}},
    )

    text: StrictStr = Field(
        description=f"1 to {MAX_TEXT_CHARS} characters; line breaks allowed.",
        json_schema_extra=TEXT_RULE,
    )
    attributes: dict[StrictStr, Attribute] = Field(
        default_factory=dict, json_schema_extra=ATTRIBUTES_RULE
    )
    ttl_s: TtlSeconds | None = Field(
        None, description="Seconds after which the persona is forgotten."
    )


class PersonaPatch(BaseModel):
    """What `PATCH /v1/personas/{id}` takes, a JSON merge patch: null takes away, what is not
    named stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"attributes": {"city": "Porto"}}}
    )

    text: Annotated[StrictStr, Field(json_schema_extra=TEXT_RULE)] = ""
    attributes: dict[StrictStr, Attribute | None] | None = None
    ttl_s: TtlSeconds | None = Field(
        None, description="Counts anew from now; null: it is never forgotten."
    )


class PersonaLine(PersonaBody):
    """A line of an import. What an export adds is allowed, and counts for nothing."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": "ada", "text": "Vegan, cooks for two."}}
    )

    id: Annotated[StrictStr, Field(json_schema_extra=ID_RULE)]
    version: int | None = None
    updated_at: str | None = None


class LineError(BaseModel):
    line: int = Field(description="Counts from 1, blank lines included.")
    field: str
    message: str


class ImportReport(BaseModel):
    """What became of an upload. Its errors are the first ones; `refused` counts them all."""

    lines: int
    written: int
    refused: int
    errors: list[LineError]


class PersonaOut(BaseModel):
    id: str
    text: str
    attributes: dict[str, Attribute]
    version: int
    updated_at: str | None
    ttl_s: int | None = Field(
        description="Seconds until the persona is forgotten; null: it never is."
    )


class PersonaDeleted(BaseModel):
    id: str
    deleted: bool


class PersonaPage(BaseModel):
    """Ids in order; pass `next_after` as `after` to get the next page."""

    ids: list[str]
    next_after: str | None


class PersonaUseOut(BaseModel):
    id: str | None
    version: int | None
    status: PersonaStatus


class ReplyExtension(BaseModel):
    """`personadual` in a reply."""

    mode: Mode | None
    probability: float | None
    source: Source
    persona: PersonaUseOut
    rule: str | None = Field(None, description="The policy's rule that forced the mode.")
