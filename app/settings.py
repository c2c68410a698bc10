"""Settings of the gateway: its one file that reads the environment. Names start `PERSONADUAL_`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.errors import StartFailed
from model.mode import Isolation, ModeWish
from model.validation import first_wrong

_PREFIX = "PERSONADUAL_"
# Read by the commands (URL, KEY), by our tests (TEST_PROGRAMS) and by the Compose files.
_OTHERS = ("URL", "KEY", "TEST_PROGRAMS", "BIND", "PORT", "WORKERS", "MODEL", "MODEL_NAME")
# By these the OpenTelemetry SDK is told where spans go.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""Of a tenant, or of a rule of the policy."""
WhenStoreAway = Literal["general", "refuse"]


class Auth(StrEnum):
    """Whether requests need an API key."""

    AUTO = "auto"  # from the moment one is made; before that the loopback address is served
    REQUIRED = "required"
    OFF = "off"


class ReasoningField(StrEnum):
    """Under which name the reasoning goes out."""

    REASONING_CONTENT = "reasoning_content"
    REASONING = "reasoning"
    BOTH = "both"
    OFF = "off"


class LogFormat(StrEnum):
    """How a line of the log looks."""

    AUTO = "auto"  # console on a terminal, else JSON
    JSON = "json"
    CONSOLE = "console"


class Traces(StrEnum):
    """Whether requests are traced."""

    AUTO = "auto"  # where OpenTelemetry's own variables say where to
    ON = "on"
    OFF = "off"


def _in_a_folder(path: Path) -> Path:
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")
    return path


class Settings(BaseSettings):
    """Every setting, its default and what it is for."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    engine_url: str = Field("http://127.0.0.1:8000", description="vLLM server to ask.")
    engine_api_key: SecretStr | None = Field(None, description="Key that we show to the engine.")
    engine_connect_s: float = Field(5.0, gt=0, description="Limit for connecting to the engine.")
    engine_silence_s: float = Field(
        600.0, gt=0, description="Limit for the engine's silence, the first token included."
    )
    checkpoint: Path | None = Field(
        None,
        description="Folder of the served checkpoint, for its card; else what the engine names.",
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis that holds the personas."
    )
    redis_timeout_ms: int = Field(80, ge=1, description="Limit for one Redis round trip.")
    redis_retry_s: float = Field(
        1.0, gt=0, description="How long a Redis that failed is left alone before the next try."
    )
    when_store_away: WhenStoreAway = Field(
        "general", description="Redis away: answer in general mode without persona, or 503."
    )
    auth: Auth = Field(
        Auth.AUTO,
        description="Whether API keys are asked for: `required`, `off`, or once one is made.",
    )
    key_cache_s: float = Field(
        300.0, gt=0, description="How long a known key goes on working while Redis is away."
    )
    limits_when_store_away: Literal["admit", "refuse"] = Field(
        "admit", description="Redis away: admit requests of limited keys unchecked, or 503."
    )
    slot_lease_s: float = Field(
        30.0, gt=0, description="How long the slots of a gateway that was killed stay taken."
    )
    tenant: Name = Field(
        "default", description="Tenant of callers without key, and of keys that name none."
    )
    persona_cache_entries: int = Field(
        10_000, ge=1, description="Bound of the local persona cache."
    )
    persona_cache_s: float = Field(
        30.0, gt=0, description="Life of a cached persona that no write invalidates."
    )
    mode: ModeWish = Field(ModeWish.AUTO, description="Mode where a request names none.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Threshold where a request names none; else the card's."
    )
    isolation: Isolation = Field(
        Isolation.SHARED, description="Isolation where a request names none."
    )
    policy: Path | None = Field(
        None, description="TOML file of rules for tenants and keys; read again on SIGHUP."
    )
    reasoning_field: ReasoningField = Field(
        ReasoningField.REASONING_CONTENT, description="Name under which the reasoning goes out."
    )
    shadow_rate: float = Field(
        0.0, ge=0, le=1, description="Share of answers with a persona that are given again without."
    )
    shadow_concurrency: int = Field(
        4, ge=1, description="Most of these second answers at once, per worker; more are dropped."
    )
    shadow_busy_from: int = Field(
        16, ge=1, description="Requests in flight, per worker, at which they are dropped."
    )
    shadow_similarity: float = Field(
        0.8, ge=0, le=1, description="Share of common words at which two texts count as the same."
    )
    shadow_log: Annotated[Path, AfterValidator(_in_a_folder)] | None = Field(
        None,
        description="File for a JSON line per comparison: time, outcome, similarity, mode, source,"
        " probability, isolation; no id and no text.",
    )
    shadow_log_bytes: int = Field(
        10_000_000,
        ge=100_000,
        description="Size at which that file starts over; the one before stays as `NAME.1`.",
    )
    shadow_log_text: bool = Field(
        False,
        description="Write persona, last message and both answers too, 2,000 characters of each.",
    )
    sse_keep_alive_s: float = Field(
        0.0,
        ge=0,
        description="Silence of a stream after which a comment keeps proxies from closing it; "
        "0 sends none.",
    )
    max_body_bytes: int = Field(16_000_000, ge=1_000, description="Largest request body.")
    max_import_bytes: int = Field(
        1_000_000_000, ge=1_000, description="Largest upload of personas."
    )
    max_messages: int = Field(2_048, ge=1, description="Most messages in one request.")
    notice_s: float = Field(
        5.0,
        ge=0,
        description="How long a gateway that is told to end stays reachable, its readiness at 503"
        " (0 under `personadual serve`).",
    )
    metrics_dir: Path | None = Field(
        None, description="Folder in which several workers share their metrics; empty at start."
    )
    console: bool = Field(True, description="Whether the console is served at `/`.")
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="Lines of the log: `json`, `console`, or console on a terminal and JSON else.",
    )
    traces: Traces = Field(
        Traces.AUTO,
        description="Spans by OTLP: `on`, `off`, or where `OTEL_EXPORTER_OTLP_ENDPOINT` is set.",
    )

    def engine_key(self) -> str | None:
        """The key that the engine is shown, in the clear; None where there is none."""
        return self.engine_api_key.get_secret_value() if self.engine_api_key else None

    def has_traces(self, environment: Mapping[str, str] = os.environ) -> bool:
        """Whether to load OpenTelemetry; where spans go it reads from its own variables itself."""
        if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return False
        if self.traces is not Traces.AUTO:
            return self.traces is Traces.ON
        is_told_not_to = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
        return not is_told_not_to and any(environment.get(name) for name in _ENDPOINTS)


def read_settings() -> Settings:
    """The settings of this process.

    Raises:
        StartFailed: a variable has an impossible value; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        where, said = first_wrong(error)
        raise StartFailed(f"{_PREFIX}{str(where[0]).upper()}: {said}") from error


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each variable that is named like a setting and is read by nobody."""
    settings = [name.upper() for name in Settings.model_fields]
    lines = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(_PREFIX)  # settings are found in either case
        if name == variable.upper() or name in settings or name in _OTHERS:
            continue
        near = get_close_matches(name, settings, n=1)
        guess = f"; did you mean {_PREFIX}{near[0]}?" if near else ""
        lines.append(f"{variable} is not a setting{guess}")
    return lines
