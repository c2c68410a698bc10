"""The dashboards: up to date, complete, and every query answered by a real Prometheus.

It scrapes a real gateway under load, and what a real vLLM once said on its `/metrics`
(`tests/vllm_metrics.txt`), with counters that go on as they began.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.main import open_engine, open_store
from app.metrics import Dependency, Metrics, Route
from app.settings import Auth, Settings
from docker.grafana.boards import boards
from docker.grafana.render import FOLDER, to_json
from model.decision import Decision, Source
from model.mode import Mode
from model.persona import PersonaStatus
from testbed.fake_engine import FakeEngine
from tests.conftest import Gateway, RedisServer, wait_until
from tests.fed_prometheus import VLLM, Exporter, Load, Prometheus

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Shown:
    """A panel of a board, as its JSON has it."""

    board: str
    panel: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.board}: {self.panel['title']}"

    @property
    def queries(self) -> list[str]:
        return [target["expr"] for target in self.panel["targets"]]


BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    Shown(name, panel)
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
by_name = pytest.mark.parametrize("shown", PANELS, ids=lambda shown: shown.name)


def test_the_generated_files_are_those_of_the_source() -> None:
    """Else: `make dashboards`."""
    written = {path.stem: path.read_text() for path in FOLDER.glob("*.json")}
    assert written == {name: to_json(board) for name, board in boards().items()}


@by_name
def test_every_panel_explains_itself(shown: Shown) -> None:
    """Unit, legends, thresholds, and a description that ends like a sentence."""
    panel, defaults = shown.panel, shown.panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"]
    assert panel["description"].endswith(".")
    assert all(target["legendFormat"] for target in panel["targets"])
    if panel["type"] != "stat":
        legend = panel["options"]["legend"]
        assert legend.get("showLegend") or legend.get("show")


@pytest.mark.parametrize("name", BOARDS)
def test_boards_and_panels_have_their_own_ids(name: str) -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    places = [tuple(panel["gridPos"].values()) for panel in BOARDS[name]["panels"]]
    assert len(set(places)) == len(places)


@pytest.fixture(scope="module")
def prometheus(
    program: Callable[[str], str],
    redis_server: RedisServer,
    fake: FakeEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    found = program("prometheus")
    fake.reset()
    # An earlier test may have left an API key in the store, and the load has none.
    settings = Settings(
        engine_url=fake.url, redis_url=SecretStr(redis_server.url), shadow_rate=1.0, auth=Auth.OFF
    )
    with contextlib.ExitStack() as ending:
        gateway = Gateway(settings, open_engine(settings), open_store(settings))
        gateway.start()
        ending.callback(fake.reset)
        ending.callback(gateway.stop)
        exporter = Exporter()
        ending.callback(exporter.stop)
        ending.callback(Load(gateway, fake).stop)
        targets = {"gateway": gateway.url.removeprefix("http://"), "engine": exporter.address}
        server = Prometheus(found, tmp_path_factory.mktemp("prometheus"), targets)
        ending.callback(server.stop)
        wait_until(server.is_fed, 60)
        time.sleep(2)  # recording rules see what was scraped a turn before
        yield server


@by_name
def test_every_query_of_every_panel_gives_data(shown: Shown, prometheus: Prometheus) -> None:
    """Numbers, not only rows; for each of its lines."""
    for query in shown.queries:
        series = prometheus.ask(query.replace("$__rate_interval", "8s"))
        values = [float(one["value"][1]) for one in series]
        assert any(not math.isnan(value) for value in values), query


@pytest.mark.parametrize("name", BOARDS)
def test_annotations_are_queries_that_prometheus_takes(name: str, prometheus: Prometheus) -> None:
    """They mark what happens seldom, so most often they give nothing."""
    for note in BOARDS[name]["annotations"]["list"]:
        prometheus.ask(note["expr"])


def at_rest() -> list[dict[str, str]]:
    """What a gateway and an engine show again and again that were asked once, long ago."""
    metrics = Metrics()
    metrics.count_decision(Decision(Mode.GENERAL, Source.MODEL, 0.2), PersonaStatus.ABSENT)
    metrics.requests(Route.CHAT, "200").inc()
    for dependency in Dependency:
        metrics.tell_dependency(dependency, is_up=True)
    rows = re.findall(r"(?m)^([a-z][^ ]*) (\S+)$", metrics.render().decode() + VLLM)
    return [{"series": series, "values": f"{value}x80"} for series, value in rows]


def check(case: dict[str, Any], program: Callable[[str], str], folder: Path) -> str:
    """What promtool says of a case that does not hold; the scrapes are those of Compose."""
    rules = str(ROOT / "docker" / "rules" / "recording.yml")
    tests = [{"interval": "15s", **case}]
    written = {"rule_files": [rules], "evaluation_interval": "15s", "tests": tests}
    (folder / "case.yml").write_text(json.dumps(written))
    command = [program("promtool"), "test", "rules", folder / "case.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def gives_only_numbers(queries: list[str]) -> dict[str, Any]:
    """On an idle service. NaN alone is not itself."""
    told = [query.replace("$__rate_interval", "1m") for query in queries]
    return {
        "input_series": at_rest(),
        "promql_expr_test": [
            {"expr": f"({one}) != ({one})", "eval_time": "15m", "exp_samples": []} for one in told
        ],
    }


@by_name
def test_no_panel_shows_what_is_no_number(
    shown: Shown, program: Callable[[str], str], tmp_path: Path
) -> None:
    """Grafana draws NaN, and says "none yet" only where nothing came."""
    assert check(gives_only_numbers(shown.queries), program, tmp_path) == ""


def test_no_rule_records_what_is_no_number(program: Callable[[str], str], tmp_path: Path) -> None:
    from tests.test_rules import RECORDS

    assert check(gives_only_numbers(list(RECORDS)), program, tmp_path) == ""


@pytest.mark.parametrize("name", BOARDS)
def test_a_policy_is_marked_whenever_it_was_read(
    name: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    """Grafana asks for marks a minute apart, and four scrapes lie between two of them."""
    notes = {note["name"]: note["expr"] for note in BOARDS[name]["annotations"]["list"]}
    metric = "personadual_policy_reloads_total"
    marked = {
        "expr": f"count({notes['Policy']})",
        "eval_time": "6m7s",
        "exp_samples": [{"labels": "{}", "value": 4}],
    }
    case = {
        "input_series": [
            {"series": f'{metric}{{outcome="at {turn}"}}', "values": f"0x{turn - 1} 1x60"}
            for turn in (21, 22, 23, 24)
        ],
        "promql_expr_test": [marked],
    }
    assert check(case, program, tmp_path) == ""


def test_every_metric_of_the_gateway_is_on_a_board_or_in_an_alert() -> None:
    """What nobody looks at is not worth counting."""
    from tests.test_metrics import NAMES
    from tests.test_rules import ALERTS, RECORDS

    shown = " ".join(query for panel in PANELS for query in panel.queries)
    shown += " ".join(rule["expr"] for rule in [*ALERTS.values(), *RECORDS.values()])
    shown += " ".join(n["expr"] for board in BOARDS.values() for n in board["annotations"]["list"])
    assert {name for name in NAMES if f"personadual_{name}" not in shown} == set()
