"""What is sent and shown of API keys, over HTTP and by the commands."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from app.access.keys import ApiKey, Role
from app.access.policy import SILENT, Rule
from app.access.quota import UNLIMITED, Limits
from app.settings import Name

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@ -]{1,64}$")]


class KeyBody(BaseModel):
    """What `POST /v1/keys` takes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "web", "tenant": "acme", "limits": {"requests_per_minute": 600}}
        },
    )

    name: KeyName = Field(description="What the key is for; shown in lists and in the audit log.")
    tenant: Name | None = Field(None, description="Whose personas; else the deployment's.")
    roles: list[Role] = Field([Role.CHAT, Role.PERSONAS], min_length=1, max_length=len(Role))
    dial: Rule = Field(SILENT, description="Defaults of this key's requests.")
    limits: Limits = UNLIMITED


class KeyOut(BaseModel):
    id: str
    name: str
    tenant: str
    roles: list[Role]
    created_at: str
    dial: Rule
    limits: Limits

    @classmethod
    def of(cls, found: ApiKey, **more: str) -> Self:
        return cls(
            id=found.id,
            name=found.name,
            tenant=found.tenant,
            roles=list(found.roles),
            created_at=found.created_at,
            dial=found.dial,
            limits=found.limits,
            **more,
        )


class KeyMade(KeyOut):
    key: str = Field(description="The key itself: shown this once.")


class KeyList(BaseModel):
    keys: list[KeyOut]


class KeyRevoked(BaseModel):
    id: str
    revoked: bool
