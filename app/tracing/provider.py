"""The OpenTelemetry SDK: one provider per process, made in it, with a queue that is bounded.

Where spans go, how many, and what the service is called are read by the SDK from its own
variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_MAX_QUEUE_SIZE`,
`OTEL_SERVICE_NAME`, ...). A thread sends them; a collector that is slow or away costs spans, and
no request its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from importlib import metadata

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from starlette.applications import Starlette

from app.personas import PersonaCache, Personas
from app.tracing.seams import TracedEdge, TracedEngine, TracedPersonas
from model.engine import Answering

logger = logging.getLogger("personadual.traces")

VERSION = metadata.version("personadual")
SERVICE = "personadual-gateway"
FLUSH_S = 3.0
"""How long the end of the gateway waits for spans that are still to be sent."""
# They repeat the collector's address, which may hold a key, with every batch.
_LOQUACIOUS = ("opentelemetry.exporter", "opentelemetry.sdk", "urllib3")


class Spans:
    """Makes spans and sends them until it is closed."""

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes.get("service.name")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SERVICE}))
        resource = resource.merge(Resource({"service.version": VERSION}))
        for name in _LOQUACIOUS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(_Telling(OTLPSpanExporter()))
        self._provider.add_span_processor(self._processor)

    def add_edge(self, app: Starlette) -> None:
        """To be called after all other middleware has been added: it stands around them."""
        app.add_middleware(TracedEdge, tracer=self._provider.get_tracer("personadual", VERSION))

    def around_engine(self, engine: Answering) -> Answering:
        return TracedEngine(engine)

    def around_personas(self, personas: PersonaCache) -> Personas:
        return TracedPersonas(personas)

    async def close(self) -> None:
        """Send what is left, for a while."""
        loop, is_sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(is_sent.set)

        # A daemon: a collector that hangs does not keep the process.
        threading.Thread(target=send, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(is_sent.wait(), FLUSH_S)


class _Telling(SpanExporter):
    """Says once that spans are lost, and once that they are sent again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            logger.warning(
                "spans are lost: the collector takes none (by HTTP, usually at port 4318)"
            )
        elif self._is_away and not is_away:
            logger.warning("the collector takes spans again")
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
