"""The boards: a module each says which figures stand where, and what they mean."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
)

from docker.grafana import engine, mode_usage, personas, service
from docker.grafana.panels import SOURCE, Panels


def boards() -> dict[str, Dashboard]:
    """All boards, by the name of their file."""
    return {
        "mode-usage": _board(
            "Mode usage", "How the model answers, and who decided.", mode_usage.ROWS
        ),
        "service": _board("Service", "What callers see: rate, errors, duration.", service.ROWS),
        "engine": _board("Engine", "vLLM's own figures.", engine.ROWS),
        "personas": _board("Personas", "The store and the cache before it.", personas.ROWS),
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
                "sum by (outcome) (increase(personadual_policy_reloads_total[90s])) > 0",
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
