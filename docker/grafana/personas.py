"""Personas: the store, and the cache before it."""

from __future__ import annotations

from docker.grafana.panels import (
    ANY_IS_DOUBTFUL,
    COUNT,
    RATE,
    SECONDS,
    SHARE,
    Limits,
    Panels,
    Series,
    graph,
    heat,
    number,
    quantiles,
    rate_by,
)

LOOKUPS = "personadual_persona_lookups_total"
HIT_RATE = Series(
    f'sum(rate({LOOKUPS}{{outcome="cached"}}[$__rate_interval]))'
    f" / (sum(rate({LOOKUPS}[$__rate_interval])) > 0)",
    "cached",
)

ROWS: Panels = {
    "Now": [
        number(
            "Lookups",
            "Personas asked for.",
            RATE,
            Series(f"sum(rate({LOOKUPS}[$__rate_interval]))", "lookups"),
        ),
        number(
            "Hit rate",
            "Lookups that the gateways' own cache answered.",
            SHARE,
            HIT_RATE,
        ),
        number(
            "Unavailable",
            "Lookups in ten minutes that the store did not answer.",
            COUNT,
            Series(f'round(sum(increase({LOOKUPS}{{outcome="unavailable"}}[10m])))', "unavailable"),
            limits=ANY_IS_DOUBTFUL,
        ),
        number(
            "Store",
            "1 where Redis answered the last ping.",
            COUNT,
            Series('min(personadual_dependency_up{dependency="redis"})', "redis"),
            limits=Limits(1, 0.5, is_low_bad=True),
        ),
    ],
    "Lookups": [
        graph(
            "Outcomes",
            "cached in the gateway, found or absent in the store, unavailable with it.",
            RATE,
            rate_by(LOOKUPS, "outcome"),
            is_stacked=True,
        ),
        graph(
            "Hit rate",
            "Lookups that the gateways' own cache answered.",
            SHARE,
            HIT_RATE,
        ),
        graph(
            "Latency",
            "Of lookups that went to the store. Its time limit is PERSONADUAL_REDIS_TIMEOUT_MS.",
            SECONDS,
            *quantiles("personadual_persona_lookup_seconds"),
            limits=Limits(0.01, 0.05),
        ),
        heat(
            "Latencies",
            "Two bands, where there are two, are two machines or a pause of the store.",
            SECONDS,
            "sum by (le) (increase(personadual_persona_lookup_seconds_bucket[$__rate_interval]))",
        ),
    ],
    "Writes": [
        graph(
            "Writes",
            "Requests that changed personas; every gateway hears of each within a second.",
            RATE,
            rate_by("personadual_persona_writes_total", "operation"),
        ),
        graph(
            "Persona requests by status",
            "Reads and writes of /v1/personas.",
            RATE,
            rate_by("personadual_requests_total", "status", '{route="personas"}'),
        ),
    ],
}
