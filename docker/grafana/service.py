"""Service: what callers see."""

from __future__ import annotations

from docker.grafana.panels import (
    COUNT,
    FIRST_TEXT,
    RATE,
    SECONDS,
    SHARE,
    WIDE,
    Limits,
    Panels,
    Series,
    graph,
    number,
    quantiles,
    rate_by,
)

ERRORS = Limits(6 * 0.005, 14.4 * 0.005)
OVERHEAD = Limits(0.02, 0.05)

ROWS: Panels = {
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
