"""Metrics: the one file that knows Prometheus. Labels are values of enums and nothing else.

With one worker the registry of the process is scraped. With several, `prometheus_client` keeps
its numbers in a shared folder, which it reads from `PROMETHEUS_MULTIPROC_DIR` when it is first
imported; `personadual serve` makes the folder and sets the variable before a worker starts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from model.decision import Decision, Source
from model.mode import Mode
from model.persona import PersonaStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST
_REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OVERHEAD_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_LOOKUP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
_FAILURES = ("500", "502", "503", "504")
_PROBABILITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class Route(StrEnum):
    """What `route` may say."""

    CHAT = "chat"
    MODE = "mode"
    MODELS = "models"
    PERSONAS = "personas"
    KEYS = "keys"
    HEALTH = "health"
    METRICS = "metrics"
    OTHER = "other"


class LookupOutcome(StrEnum):
    """What became of a persona lookup."""

    CACHED = "cached"  # the local cache knew, one way or the other
    FOUND = "found"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"


class Rejection(StrEnum):
    """Why a request was refused before it reached the engine."""

    INVALID = "invalid"
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    LIMITED = "limited"
    UNKNOWN_MODEL = "unknown_model"
    STORE_AWAY = "store_away"


class ShadowOutcome(StrEnum):
    """What became of an answer that was drawn to be compared with one without the persona."""

    GENERAL_SAME = "general_same"
    GENERAL_DIFFERENT = "general_different"  # interference
    PERSONALIZED_SAME = "personalized_same"
    PERSONALIZED_DIFFERENT = "personalized_different"  # what the persona is for
    DROPPED = "dropped"  # the gateway was busy, or ended
    FAILED = "failed"  # the engine gave no second answer
    SKIPPED = "skipped"  # several choices, no text or no mode: there is nothing to compare

    @classmethod
    def of(cls, mode: Mode, *, is_same: bool) -> ShadowOutcome:
        return cls(f"{mode}_{'same' if is_same else 'different'}")


class LimitOutcome(StrEnum):
    """What became of a request of a key that has limits."""

    ADMITTED = "admitted"
    REQUESTS = "requests"  # refused, by the limit of this name
    TOKENS = "tokens"
    CONCURRENT = "concurrent"
    UNCHECKED = "unchecked"  # Redis was away


class PolicyOutcome(StrEnum):
    """What became of a policy file that was read again."""

    APPLIED = "applied"
    REFUSED = "refused"  # it is invalid: the one before stays in force


class PersonaWrite(StrEnum):
    """How personas were changed."""

    PUT = "put"
    PATCH = "patch"
    DELETE = "delete"
    IMPORT = "import"


class Dependency(StrEnum):
    """What an answer needs."""

    REDIS = "redis"
    ENGINE = "engine"
    GATE = "gate"


class TokenKind(StrEnum):
    PROMPT = "prompt"
    COMPLETION = "completion"


class Metrics:
    """All metrics of one process."""

    def __init__(self, shared_dir: Path | None = None) -> None:
        # Creation times double the number of series, and nobody reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._shared_dir = shared_dir
        self.registry = CollectorRegistry()
        decisions = self._counter(
            "mode_decisions", "Replies by mode, who decided, and persona.", "mode source persona"
        )
        # Labels are few: remembering the child of each combination halves the cost of counting.
        self._decision = cache(decisions.labels)
        self.mode_probability = self._histogram(
            "mode_probability", "Calibrated probability of personalised mode.", "", _PROBABILITIES
        )
        self.requests = cache(
            self._counter(
                "requests",
                "Answered requests; a stream that broke off, by the status of its error.",
                "route status",
            ).labels
        )
        seconds = self._histogram(
            "request_seconds", "From a chat request to its end.", "mode", _REQUEST_SECONDS
        )
        self.request_seconds = cache(seconds.labels)
        first = self._histogram(
            "first_token_seconds", "From a chat request to its first text.", "mode", _TOKEN_SECONDS
        )
        self.first_token_seconds = cache(first.labels)
        self.overhead_seconds = self._histogram(
            "overhead_seconds", "Own time until a chat answer begins.", "", _OVERHEAD_SECONDS
        )
        lookups = self._counter("persona_lookups", "Persona lookups.", "outcome")
        self.persona_lookups = cache(lookups.labels)
        self.persona_lookup_seconds = self._histogram(
            "persona_lookup_seconds", "Time of a persona lookup.", "", _LOOKUP_SECONDS
        )
        writes = self._counter("persona_writes", "Requests that changed personas.", "operation")
        self.persona_writes = cache(writes.labels)
        self._token = cache(
            self._counter("tokens", "Tokens that the engine counted.", "mode kind").labels
        )
        self.untagged_replies = self._counter(
            "untagged_replies", "Replies that opened with no tag.", ""
        )
        checks = self._counter("limit_checks", "Requests of keys that have limits.", "outcome")
        self.limit_checks = cache(checks.labels)
        reloads = self._counter("policy_reloads", "Policy files that were read again.", "outcome")
        self.policy_reloads = cache(reloads.labels)
        rejected = self._counter("rejected", "Requests refused by the gateway.", "reason")
        self.rejected = cache(rejected.labels)
        shadows = self._counter(
            "shadow", "Answers drawn to be compared with one without the persona.", "outcome"
        )
        self.shadows = cache(shadows.labels)
        self.inflight = self._gauge("inflight", "Requests being answered now.", "", "livesum")
        self._dependency_up = self._gauge(
            "dependency_up", "Whether it answered when last asked.", "dependency", "livemin"
        )
        self._start_at_zero()

    def count_decision(self, decision: Decision, status: PersonaStatus) -> None:
        if decision.mode is None:
            self.untagged_replies.inc()
            return
        self._decision(decision.mode, decision.source, status).inc()
        if decision.probability is not None:
            self.mode_probability.observe(decision.probability)

    def tell_dependency(self, dependency: Dependency, *, is_up: bool) -> None:
        self._dependency_up.labels(dependency).set(is_up)

    def count_tokens(self, mode: Mode | None, prompt: int, completion: int) -> None:
        if mode is not None:
            self._token(mode, TokenKind.PROMPT).inc(prompt)
            self._token(mode, TokenKind.COMPLETION).inc(completion)

    def inflight_now(self) -> float:
        """Requests that this process is answering."""
        return next(iter(self.inflight.collect())).samples[0].value

    def render(self) -> bytes:
        """The text that Prometheus scrapes, summed over all workers."""
        if self._shared_dir is None:
            return generate_latest(self.registry)
        _forget_the_dead(self._shared_dir)
        collected = CollectorRegistry()
        MultiProcessCollector(collected, path=str(self._shared_dir))  # type: ignore[no-untyped-call]
        return generate_latest(collected)

    def _counter(self, name: str, help_text: str, labels: str) -> Counter:
        return Counter(
            f"personadual_{name}_total", help_text, labels.split(), registry=self.registry
        )

    def _gauge(
        self, name: str, help_text: str, labels: str, over_workers: Literal["livesum", "livemin"]
    ) -> Gauge:
        return Gauge(
            f"personadual_{name}",
            help_text,
            labels.split(),
            registry=self.registry,
            multiprocess_mode=over_workers,
        )

    def _histogram(
        self, name: str, help_text: str, labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"personadual_{name}",
            help_text,
            labels.split(),
            buckets=buckets,
            registry=self.registry,
        )

    def _start_at_zero(self) -> None:
        """A counter that appears with its first event hides that event from `rate`."""
        by_value: tuple[tuple[Callable[[Any], object], type[StrEnum]], ...] = (
            (self.persona_lookups, LookupOutcome),
            (self.persona_writes, PersonaWrite),
            (self.limit_checks, LimitOutcome),
            (self.policy_reloads, PolicyOutcome),
            (self.rejected, Rejection),
            (self.shadows, ShadowOutcome),
        )
        for child, values in by_value:
            for value in values:
                child(value)
        for status in ("200", *_FAILURES):
            self.requests(Route.CHAT, status)
        for mode in Mode:
            self.request_seconds(mode)
            self.first_token_seconds(mode)
            for kind in TokenKind:
                self._token(mode, kind)
            for persona in PersonaStatus:
                self._decision(mode, Source.MODEL, persona)


def _forget_the_dead(shared_dir: Path) -> None:
    """Drop the gauges of workers that are gone: a killed one cannot do it itself."""
    for path in shared_dir.glob("gauge_live*_*.db"):
        pid = int(path.stem.rsplit("_", 1)[1])
        if not Path(f"/proc/{pid}").exists():
            with suppress(FileNotFoundError):  # another worker was quicker
                mark_process_dead(pid, str(shared_dir))  # type: ignore[no-untyped-call]
