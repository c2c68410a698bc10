"""The command `personadual status`: how a gateway does, on one screen."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from app.commands.gateway import (
    DEFAULT_URL,
    FORBIDDEN,
    UNAUTHORIZED,
    AsJson,
    Gateway,
    Key,
    Url,
)
from app.commands.scrape import QUANTILES, Scrape
from model.console import console, errors, harmless, reported
from model.errors import GatewayRefused, GatewayUnavailable, PersonaDualError

if TYPE_CHECKING:
    from rich.live import Live

app = typer.Typer()
UNAVAILABLE = 503
WRONG_KEY = (UNAUTHORIZED, FORBIDDEN)
BAR_CELLS = 24
MODES = {"general": "cyan", "personalized": "magenta"}
QUIET_ROUTES = ("health", "metrics")
"""Asked by machines all day; they say nothing of those who are served."""


@dataclass(frozen=True)
class Seen:
    """A gateway at one moment. Counts are since it was started, or since the look before."""

    url: str
    is_ready: bool
    checks: dict[str, str]
    model: str | None
    asks_keys: bool
    modes: dict[str, float]
    sources: dict[str, float]
    personas: dict[str, float]
    untagged: float
    first_text_s: dict[str, list[float | None]]
    answer_s: dict[str, list[float | None]]
    requests: float
    failed: float
    rejected: dict[str, float]
    inflight: float
    seconds: float | None = None


@app.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between looks.")] = 2.0,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show how a gateway does, on one screen: engine, store, gate, modes, latency.

    Exit code 1 where it is not ready to answer, 3 where nobody answers.
    """
    with reported():
        gateway = Gateway(url, key)
        if watch:
            _watch(gateway, every, as_json)
            return
        seen, _ = look(gateway)
        if as_json:
            typer.echo(json.dumps(asdict(seen)))
        else:
            console.print(screen(seen))
    if not seen.is_ready:
        raise typer.Exit(1)


def _watch(gateway: Gateway, every_s: float, as_json: bool) -> None:
    from rich.live import Live

    found: Seen | PersonaDualError
    found, scrape = look(gateway)
    screens = None if as_json else Live(console=console, screen=True, auto_refresh=False)
    try:
        with screens or contextlib.nullcontext():
            while True:
                _show(found, screens)
                time.sleep(every_s)
                try:
                    found, scrape = look(gateway, scrape)
                except GatewayUnavailable as error:
                    found = error
                except GatewayRefused as error:
                    if error.status in WRONG_KEY:
                        raise
                    found = error  # a proxy's, while the gateway behind it is started again
    except KeyboardInterrupt:
        return  # the way to end it


def _show(found: Seen | PersonaDualError, screens: Live | None) -> None:
    """On the screen or, where there is none, a line of JSON, and an outage beside it."""
    if isinstance(found, PersonaDualError):
        away = Text(found.message, style="red")
        if screens is None:
            errors.print(away, soft_wrap=True)
        else:
            screens.update(away, refresh=True)
    elif screens is None:
        typer.echo(json.dumps(asdict(found)))
    else:
        screens.update(screen(found), refresh=True)


def look(gateway: Gateway, before: Scrape | None = None) -> tuple[Seen, Scrape]:
    """Ask a gateway how it does; with an earlier scrape, what it did since."""
    health = _health(gateway)
    try:
        scrape = Scrape.of(gateway.read("GET", "/metrics").decode())
    except ValueError as error:
        raise GatewayRefused(f"{gateway.url}/metrics cannot be read", status=200) from error
    model, asks_keys = _model(gateway)
    counted = scrape if before is None else scrape.since(before)
    modes = list(MODES)
    statuses = {
        (route, status): count
        for (route, status), count in _requests(counted).items()
        if route not in QUIET_ROUTES
    }
    seen = Seen(
        url=gateway.url,
        is_ready=health.get("status") == "ok",
        checks=dict(health.get("checks") or {}),
        model=model,
        asks_keys=asks_keys,
        modes=counted.by("mode_decisions_total", "mode"),
        sources=counted.by("mode_decisions_total", "source"),
        personas=counted.by("mode_decisions_total", "persona"),
        untagged=counted.total("untagged_replies_total"),
        first_text_s={mode: counted.quantiles("first_token_seconds", mode=mode) for mode in modes},
        answer_s={mode: counted.quantiles("request_seconds", mode=mode) for mode in modes},
        requests=sum(statuses.values()),
        failed=sum(n for (_, status), n in statuses.items() if status.startswith("5")),
        rejected={k: v for k, v in counted.by("rejected_total", "reason").items() if v},
        inflight=scrape.total("inflight"),
        seconds=None if before is None else scrape.at_s - before.at_s,
    )
    return seen, scrape


def screen(seen: Seen) -> RenderableType:
    """What is seen, for people."""
    since = (
        "since its start" if seen.seconds is None else f"in the last {round(seen.seconds, 1):g} s"
    )
    state = "[bold green]ready[/]" if seen.is_ready else "[bold red]not ready[/]"
    head = Text.from_markup(f"\n[bold]{escape(seen.url)}[/]  {state}  [dim]counts {since}[/]\n")
    body: list[RenderableType] = [head, _parts(seen), Text(), _shares(seen), Text()]
    if any(seen.modes.values()):
        body += [_times(seen), Text()]
    return Group(*body, _traffic(seen))


def _parts(seen: Seen) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, said in seen.checks.items():
        is_ok = said == "ok"
        mark = "[green]✓[/]" if is_ok else "[red]✗[/]"
        note = f"model {seen.model}" if name == "engine" and is_ok and seen.model else said
        table.add_row(mark, name, escape(harmless(note)))
    keys = "asked for" if seen.asks_keys else "not asked for here"
    table.add_row("[green]✓[/]" if seen.asks_keys else "[yellow]![/]", "keys", keys)
    return table


def _shares(seen: Seen) -> RenderableType:
    decided = sum(seen.modes.values())
    if not decided:
        return Text("no decisions", style="dim")
    table = Table.grid(padding=(0, 2))
    for mode, style in MODES.items():
        count = seen.modes.get(mode, 0.0)
        full = round(BAR_CELLS * count / decided)
        bar = f"[{style}]{'█' * full}[/][dim]{'░' * (BAR_CELLS - full)}[/]"
        table.add_row(mode, bar, f"{count / decided:6.1%}", f"{count:,.0f}")
    notes = Table.grid(padding=(0, 2))
    for name, counts in (("decided by", seen.sources), ("persona", seen.personas)):
        ordered = sorted(counts.items(), key=lambda one: -one[1])
        notes.add_row(name, "  ".join(f"{each} {n / decided:.1%}" for each, n in ordered if n))
    if seen.untagged:
        notes.add_row("[yellow]untagged[/]", f"{seen.untagged:,.0f} replies opened with no tag")
    return Group(table, notes)


def _times(seen: Seen) -> Table:
    heads = ("", *(f"p{share * 100:g}" for share in QUANTILES))
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, times in (("first text", seen.first_text_s), ("whole answer", seen.answer_s)):
        for mode, found in times.items():
            if any(value is not None for value in found):
                table.add_row(f"{name}, {mode}", *map(_duration, found))
    return table


def _traffic(seen: Seen) -> Text:
    parts = [f"{seen.requests:,.0f} requests"]
    if seen.seconds:
        parts.append(f"{seen.requests / seen.seconds:,.1f} a second")
    parts.append(f"{seen.failed:,.0f} failed")
    parts += [f"{count:,.0f} rejected: {reason}" for reason, count in seen.rejected.items()]
    parts.append(f"{seen.inflight:,.0f} in flight")
    return Text(" · ".join(parts))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _health(gateway: Gateway) -> dict[str, Any]:
    """Also that of a gateway that is not ready, which says so with a status of 503."""
    found: dict[str, Any] = gateway.ask("GET", "/health/ready", takes=(UNAVAILABLE,))
    return found


def _model(gateway: Gateway) -> tuple[str | None, bool]:
    """The served model, where the key lets us see it; whether a key is asked for."""
    try:
        return _listed(Gateway(gateway.url)), False
    except GatewayRefused as refusal:
        asks_keys = refusal.status == UNAUTHORIZED
    try:
        return _listed(gateway) if asks_keys and gateway.has_key else None, asks_keys
    except GatewayRefused:
        return None, asks_keys


def _listed(gateway: Gateway) -> str | None:
    try:
        return str(gateway.ask("GET", "/v1/models")["data"][0]["id"])
    except (LookupError, TypeError):
        return None


def _requests(counted: Scrape) -> dict[tuple[str, str], float]:
    rows = counted.samples.get("requests_total", {})
    found = {}
    for has, count in rows.items():
        labels = dict(has)
        found[labels.get("route", ""), labels.get("status", "")] = count
    return found
