"""Wiring: the gateway is assembled here and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import logs
from app.access import audit
from app.access.auth import Door
from app.access.keys import MAX_KEYS, KeyRing
from app.access.policies import Policies, reloading
from app.access.quota import Quota
from app.chat.served import ServedModel
from app.chat.use_case import Chat
from app.console import add_console
from app.http.connection import take_all_files
from app.http.edge import Edge
from app.http.ending import Ending
from app.http.key_routes import router as key_router
from app.http.openapi import document
from app.http.parts import Parts
from app.http.persona_routes import router as persona_router
from app.http.readiness import Readiness
from app.http.refusals import handle_errors
from app.http.routes import busy, router
from app.metrics import Dependency, Metrics
from app.personas import PersonaCache, Personas
from app.redis.store import RedisStore
from app.settings import Settings, unknown_variables
from app.shadow.log import ShadowLog
from app.shadow.shadows import Shadows
from app.store import Store
from model.engine import Answering, Engine
from model.errors import EngineError, EngineUnavailable
from model.vllm import Timeouts, VllmEngine

if TYPE_CHECKING:
    from app.tracing.provider import Spans

logger = logging.getLogger("personadual.gateway")


def create_app(settings: Settings, engine: Engine, store: Store) -> FastAPI:
    """The gateway over one engine and one store; both are closed with it."""
    metrics = Metrics(settings.metrics_dir)
    served = ServedModel(engine, settings.checkpoint)
    personas = PersonaCache(
        store.personas,
        metrics,
        max_entries=settings.persona_cache_entries,
        life_s=settings.persona_cache_s,
    )
    ring = KeyRing(store.keys, max_entries=MAX_KEYS, life_s=settings.key_cache_s)

    ending = Ending(settings.notice_s)
    policies = Policies(settings, metrics)
    shadows = open_shadows(settings, engine, metrics)  # not traced: they begin after the answer
    spans = open_spans(settings)
    answering, looked_up = _traced(spans, engine, personas)
    chat = Chat(answering, served, looked_up, policies, metrics, settings.reasoning_field, shadows)
    door = Door(settings.auth, settings.tenant, ring)
    quota = Quota(
        store.quotas,
        metrics,
        when_away=settings.limits_when_store_away,
        lease_s=settings.slot_lease_s,
    )
    readiness = _readiness(engine, served, store, metrics, ending)
    parts = Parts(settings, chat, served, store, personas, ring, door, quota, metrics, readiness)

    # FastAPI's own page loads its script from a public network.
    app = FastAPIOffline(
        title="PersonaDual",
        lifespan=lambda _app: _alive(parts, engine, policies, shadows, ending, spans),
        redoc_url=None,
        static_url="/docs/static",
    )
    app.state.parts = parts
    app.include_router(busy)
    app.include_router(router)
    app.include_router(persona_router)
    app.include_router(key_router)
    if settings.console:
        add_console(app)
    app.add_middleware(
        Edge,
        metrics=metrics,
        ending=ending,
        max_body_bytes=settings.max_body_bytes,
        max_import_bytes=settings.max_import_bytes,
    )
    if spans:
        spans.add_edge(app)
    handle_errors(app, metrics)
    document(app, settings)
    return app


@contextlib.asynccontextmanager
async def _alive(
    parts: Parts,
    engine: Engine,
    policies: Policies,
    shadows: Shadows | None,
    ending: Ending,
    spans: Spans | None,
) -> AsyncIterator[None]:
    """The gateway's life: what works beside the requests, and what is closed at the end."""
    with ending.by_signal(), reloading(parts.settings, policies):
        with contextlib.suppress(EngineError):
            # So that a missing gate stands in the log; the engine may come later.
            await parts.served.get()
        await parts.door.look()
        tasks = [
            asyncio.create_task(parts.store.listen(parts.personas, parts.ring)),
            asyncio.create_task(parts.quota.keep()),
            asyncio.create_task(parts.readiness.watch()),
        ]
        yield
    if shadows is not None:
        await shadows.close()
    await engine.close()
    await parts.store.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if spans is not None:
        await spans.close()


def _traced(
    spans: Spans | None, engine: Engine, personas: PersonaCache
) -> tuple[Answering, Personas]:
    """What a request asks: itself, and nothing around it, where requests are not traced."""
    if spans is None:
        return engine, personas
    return spans.around_engine(engine), spans.around_personas(personas)


def _readiness(
    engine: Engine, served: ServedModel, store: Store, metrics: Metrics, ending: Ending
) -> Readiness:
    async def ping_gate() -> None:
        if not (await served.look()).has_gate:
            raise EngineUnavailable("the engine has no PersonaDual gate")

    pings = {
        Dependency.REDIS: store.ping,
        Dependency.ENGINE: engine.ping,
        Dependency.GATE: ping_gate,
    }
    return Readiness(pings, metrics, ending)


def gateway() -> FastAPI:
    """The factory that uvicorn calls in each worker process."""
    settings = Settings()
    logs.set_up(settings.log_format)
    for line in unknown_variables():
        logger.warning("%s", line)
    audit.show()
    take_all_files()
    app = create_app(settings, open_engine(settings), open_store(settings))
    _calm_the_collector()
    return app


def _calm_the_collector() -> None:
    """Leave what lives as long as the process out of every garbage collection.

    Each answer makes and drops thousands of small objects; with the defaults a third of a
    request's time went into looking through modules and schemas for garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def open_engine(settings: Settings) -> Engine:
    return VllmEngine(
        settings.engine_url,
        api_key=settings.engine_key(),
        timeouts=Timeouts(settings.engine_connect_s, settings.engine_silence_s),
    )


def open_shadows(settings: Settings, engine: Engine, metrics: Metrics) -> Shadows | None:
    """None where the rate is 0: then nothing of them is on the path of a request."""
    if settings.shadow_rate == 0:
        return None
    log = ShadowLog(settings.shadow_log, settings.shadow_log_bytes) if settings.shadow_log else None
    return Shadows(engine, metrics, settings, log)


def open_spans(settings: Settings) -> Spans | None:
    """None where requests are not traced: then OpenTelemetry is not so much as imported."""
    if not settings.has_traces():
        return None
    from app.tracing.provider import Spans

    return Spans()


def open_store(settings: Settings) -> Store:
    return RedisStore(
        settings.redis_url.get_secret_value(),
        timeout_s=settings.redis_timeout_ms / 1000,
        retry_s=settings.redis_retry_s,
    )
