"""The four boards: which figures stand where, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
)

from docker.grafana.panels import (
    COUNT,
    RATE,
    SECONDS,
    SHARE,
    SOURCE,
    THIRD,
    TOKENS,
    WIDE,
    Limits,
    Series,
    graph,
    heat,
    number,
    quantiles,
    rate_by,
)

Panels = Mapping[str, Sequence[Builder[Panel]]]
"""Panels by the title of their row."""

DECISIONS = "personadual_mode_decisions_total"
DISAGREEMENT = Limits(0.1, 0.15)
ERRORS = Limits(6 * 0.005, 14.4 * 0.005)
FIRST_TEXT = Limits(2, 5)
OVERHEAD = Limits(0.02, 0.05)
ANY_IS_BAD = Limits(bad=0.001)

MODE_USAGE: Panels = {
    "Now": [
        number(
            "Personalised share",
            "Of the model's own choices in the last 15 minutes. Forced modes do not count.",
            SHARE,
            Series("personadual:personalized_share:15m", "personalised"),
        ),
        number(
            "Decisions",
            "Replies that opened with a tag.",
            RATE,
            Series(f"sum(rate({DECISIONS}[$__rate_interval]))", "decisions"),
        ),
        number(
            "Replies without a tag",
            "In ten minutes. Any means that the engine runs without the gate.",
            COUNT,
            Series("sum(increase(personadual_untagged_replies_total[10m]))", "untagged"),
            limits=ANY_IS_BAD,
        ),
        number(
            "Shadow disagreement",
            "Of general answers asked again without the persona, how many differ: interference.",
            SHARE,
            Series("personadual:shadow_disagreement:1h", "different"),
            limits=DISAGREEMENT,
        ),
    ],
    "Decisions": [
        graph(
            "Share by mode",
            "What became of all replies, whoever decided.",
            SHARE,
            Series(
                f"sum by (mode) (rate({DECISIONS}[$__rate_interval]))"
                f" / on () group_left () sum(rate({DECISIONS}[$__rate_interval]))",
                "{{mode}}",
            ),
            is_stacked=True,
        ),
        graph(
            "Probability of personalised mode",
            "Calibrated, as the gate compared it with the threshold.",
            SHARE,
            Series(
                "histogram_quantile(0.5, "
                + "sum by (le) (rate(personadual_mode_probability_bucket[$__rate_interval])))",
                "median",
            ),
        ),
        heat(
            "Probabilities",
            "Mass at both ends is a model that is sure; the dial moves what lies between.",
            SHARE,
            "sum by (le) (increase(personadual_mode_probability_bucket[$__rate_interval]))",
        ),
        graph(
            "The model's share, and its last day",
            "Its own choices over 15 minutes. More than 20 points apart, for ten minutes, alerts.",
            SHARE,
            Series("personadual:personalized_share:15m", "15 minutes"),
            Series("personadual:personalized_share:1d", "1 day"),
        ),
        graph(
            "Who decided",
            "model at the card's threshold, threshold at another, request and policy by force,"
            " fallback because something was away.",
            RATE,
            rate_by(DECISIONS, "source"),
            is_stacked=True,
        ),
        graph(
            "What became of the persona",
            "applied in the context, withheld from it, absent, or unavailable with its store.",
            RATE,
            rate_by(DECISIONS, "persona"),
            is_stacked=True,
        ),
    ],
    "Interference and cost": [
        graph(
            "Answers asked again without the persona",
            "general_different is interference; personalized_different is what the persona is for.",
            RATE,
            rate_by("personadual_shadow_total", "outcome"),
        ),
        graph(
            "Tokens by mode",
            "As the engine counted them, of prompts and of completions.",
            TOKENS,
            Series(
                "sum by (mode, kind) (rate(personadual_tokens_total[$__rate_interval]))",
                "{{mode}} {{kind}}",
            ),
        ),
    ],
}

SERVICE: Panels = {
    "Now": [
        number(
            "Chat requests",
            "Answered in any way.",
            RATE,
            Series('sum(rate(personadual_requests_total{route="chat"}[$__rate_interval]))', "chat"),
        ),
        number(
            "Errors",
            "Chat requests that failed by our fault or the engine's, over 5 minutes.",
            SHARE,
            Series("personadual:chat_errors:5m", "errors"),
            limits=ERRORS,
        ),
        number(
            "First text",
            "One answer in twenty takes longer to its first text.",
            SECONDS,
            Series("personadual:first_token_seconds_p95:5m", "p95"),
            limits=FIRST_TEXT,
        ),
        number(
            "In flight",
            "Requests being answered now, by all gateways.",
            COUNT,
            Series("sum(personadual_inflight)", "in flight"),
        ),
    ],
    "Traffic": [
        graph(
            "Requests by route",
            "All that came, health checks and scrapes too.",
            RATE,
            rate_by("personadual_requests_total", "route"),
        ),
        graph(
            "Chat requests by status",
            "499 is a caller who left before the answer began.",
            RATE,
            rate_by("personadual_requests_total", "status", '{route="chat"}'),
            is_stacked=True,
        ),
        graph(
            "Errors",
            "Of chat requests. The limits are those of the alerts on the error budget (99.5 %).",
            SHARE,
            Series("personadual:chat_errors:5m", "5 minutes"),
            Series("personadual:chat_errors:1h", "1 hour"),
            Series("personadual:chat_errors:6h", "6 hours"),
            limits=ERRORS,
        ),
        graph(
            "Rejected",
            "Requests that the gateway refused itself, by reason.",
            RATE,
            rate_by("personadual_rejected_total", "reason"),
        ),
        graph(
            "Limits of keys",
            "Requests of keys with limits: admitted, refused, or unchecked while Redis is away.",
            RATE,
            rate_by("personadual_limit_checks_total", "outcome"),
            is_stacked=True,
            width=WIDE,
        ),
    ],
    "Time": [
        graph(
            "First text",
            "From a chat request to its first text, by mode. Strict isolation asks twice.",
            SECONDS,
            *quantiles("personadual_first_token_seconds", "mode", at=(0.5, 0.95)),
            limits=FIRST_TEXT,
        ),
        graph(
            "Duration",
            "From a chat request to its end, by mode.",
            SECONDS,
            *quantiles("personadual_request_seconds", "mode", at=(0.5, 0.95)),
        ),
        graph(
            "Overhead",
            "The gateway's own time until an answer begins: everything but the engine's.",
            SECONDS,
            *quantiles("personadual_overhead_seconds"),
            limits=OVERHEAD,
        ),
        graph(
            "In flight",
            "Requests being answered, by gateway.",
            COUNT,
            Series("sum by (instance) (personadual_inflight)", "{{instance}}"),
        ),
    ],
    "Dependencies": [
        graph(
            "What an answer needs",
            "1 where it answered the gateway's last question, 0 where it is away.",
            COUNT,
            Series("min by (dependency) (personadual_dependency_up)", "{{dependency}}"),
            limits=Limits(1, 0.5, is_low_bad=True),
            width=WIDE,
        ),
    ],
}

ENGINE: Panels = {
    "Now": [
        number(
            "Tokens",
            "Generated by all engines.",
            TOKENS,
            Series("sum(rate(vllm:generation_tokens_total[$__rate_interval]))", "tokens"),
        ),
        number(
            "Running",
            "Requests that the engines work on.",
            COUNT,
            Series("sum(vllm:num_requests_running)", "running"),
        ),
        number(
            "Waiting",
            "Requests that wait for a place. A queue that stays wants another engine.",
            COUNT,
            Series("sum(vllm:num_requests_waiting)", "waiting"),
            limits=Limits(1, 20),
        ),
        number(
            "Cache in use",
            "Of the memory for keys and values, in the fullest engine.",
            SHARE,
            Series("max(vllm:kv_cache_usage_perc)", "in use"),
            limits=Limits(0.8, 0.95),
        ),
    ],
    "Work": [
        graph(
            "Tokens",
            "Read from prompts and generated, by engine.",
            TOKENS,
            Series(
                "sum by (instance) (rate(vllm:prompt_tokens_total[$__rate_interval]))",
                "prompt {{instance}}",
            ),
            Series(
                "sum by (instance) (rate(vllm:generation_tokens_total[$__rate_interval]))",
                "generated {{instance}}",
            ),
        ),
        graph(
            "Requests",
            "Running and waiting, by engine.",
            COUNT,
            Series("sum by (instance) (vllm:num_requests_running)", "running {{instance}}"),
            Series("sum by (instance) (vllm:num_requests_waiting)", "waiting {{instance}}"),
        ),
        graph(
            "Finished requests",
            "By why they ended; abort is a caller who left, or strict isolation asking anew.",
            RATE,
            rate_by("vllm:request_success_total", "finished_reason"),
            is_stacked=True,
        ),
        heat(
            "Generated tokens per request",
            "How long answers are.",
            COUNT,
            "sum by (le) (increase(vllm:request_generation_tokens_bucket[$__rate_interval]))",
        ),
    ],
    "Time": [
        graph(
            "First token",
            "From the engine's receiving a request to its first token, the queue included.",
            SECONDS,
            *quantiles("vllm:time_to_first_token_seconds", at=(0.5, 0.95)),
            limits=FIRST_TEXT,
            width=THIRD,
        ),
        graph(
            "Between tokens",
            "What a reader feels as the speed of a stream.",
            SECONDS,
            *quantiles("vllm:inter_token_latency_seconds", at=(0.5, 0.95)),
            limits=Limits(0.1, 0.25),
            width=THIRD,
        ),
        graph(
            "In the queue",
            "Before the engine begins.",
            SECONDS,
            *quantiles("vllm:request_queue_time_seconds", at=(0.5, 0.95)),
            limits=Limits(0.5, 2),
            width=THIRD,
        ),
    ],
    "Memory": [
        graph(
            "Cache in use",
            "Of the memory for keys and values, by engine.",
            SHARE,
            Series("max by (instance) (vllm:kv_cache_usage_perc)", "{{instance}}"),
            limits=Limits(0.8, 0.95),
            width=THIRD,
        ),
        graph(
            "Prefix cache",
            "Share of prompt tokens that were there already. Entries are kept apart by user.",
            SHARE,
            Series(
                "sum(rate(vllm:prefix_cache_hits_total[$__rate_interval]))"
                " / sum(rate(vllm:prefix_cache_queries_total[$__rate_interval]))",
                "hits",
            ),
            width=THIRD,
        ),
        graph(
            "Preemptions",
            "Requests put back because memory ran out; they are computed again.",
            RATE,
            Series(
                "sum by (instance) (rate(vllm:num_preemptions_total[$__rate_interval]))",
                "{{instance}}",
            ),
            limits=Limits(0.01, 0.1),
            width=THIRD,
        ),
    ],
}

LOOKUPS = "personadual_persona_lookups_total"

PERSONAS: Panels = {
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
            Series(
                f'sum(rate({LOOKUPS}{{outcome="cached"}}[$__rate_interval]))'
                f" / sum(rate({LOOKUPS}[$__rate_interval]))",
                "cached",
            ),
        ),
        number(
            "Unavailable",
            "Lookups in ten minutes that the store did not answer.",
            COUNT,
            Series(f'sum(increase({LOOKUPS}{{outcome="unavailable"}}[10m]))', "unavailable"),
            limits=ANY_IS_BAD,
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
            Series(
                f'sum(rate({LOOKUPS}{{outcome="cached"}}[$__rate_interval]))'
                f" / sum(rate({LOOKUPS}[$__rate_interval]))",
                "cached",
            ),
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


def boards() -> dict[str, Dashboard]:
    """All boards, by the name of their file."""
    return {
        "mode-usage": _board("Mode usage", "How the model answers, and who decided.", MODE_USAGE),
        "service": _board("Service", "What callers see: rate, errors, duration.", SERVICE),
        "engine": _board("Engine", "vLLM's own figures.", ENGINE),
        "personas": _board("Personas", "The store and the cache before it.", PERSONAS),
    }


def _board(title: str, description: str, rows: Panels) -> Dashboard:
    board = (
        dashboards.Dashboard(f"PersonaDual: {title}")
        .uid(f"personadual-{title.lower().replace(' ', '-')}")
        .description(description)
        .tags(["personadual"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboards.DashboardLink("Boards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["personadual"])
            .as_dropdown(True)
        )
        .annotation(
            _note(
                "Policy",
                "blue",
                "sum by (outcome) (increase(personadual_policy_reloads_total[1m])) > 0",
            )
        )
        .annotation(_note("Alerts", "red", 'ALERTS{alertstate="firing"}'))
    )
    for row, panels in rows.items():
        board.with_row(dashboards.Row(row))
        for panel in panels:
            board.with_panel(panel)
    return board.build()


def _note(name: str, color: str, expression: str) -> dashboards.AnnotationQuery:
    """A mark on all graphs of a board: a dial that was moved, an alert that fires."""
    note = dashboards.AnnotationQuery().name(name).datasource(SOURCE)
    return note.enable(True).icon_color(color).expr(expression)
