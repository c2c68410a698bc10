"""The page and the comparison; the command against the gateway, over HTTP."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.mode import Mode
from testbed.fake_engine import MODEL, Script
from tests.conftest import Gateway
from tests.evaluation_bench import Bench, bench
from tests.simulated_endpoint import Reply, Request, facts, right, wishes, write_lines
from training.evaluation.cli import evaluate_app
from training.evaluation.compare import compare
from training.evaluation.conditions import Shown

EVIL = "<script>alert(1)</script>"
VOID = frozenset({"meta", "br"})


class Checker(HTMLParser):
    """Every tag is closed, and nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        self.found.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def misled(asked: Request) -> Reply:
    """Facts are lost to an unaligned persona in personalised mode; wishes need the aligned one."""
    is_lost = asked.condition is Shown.UNALIGNED and asked.mode is Mode.PERSONALIZED
    if is_lost or (asked.item.id.startswith("wish") and asked.condition is Shown.UNALIGNED):
        return Reply(EVIL, asked.mode or asked.item.mode, 0.6)
    return right(asked)


def test_the_page_is_whole_escaped_and_offline(tmp_path: Path) -> None:
    lines = [*facts(20), *wishes(10)]
    for place, line in enumerate(lines):
        line["question"] = f"{EVIL} {line['question']}"
        line["attributes"] = {"aligned": {"job": f"<b>{place % 2}"}}
    with bench(tmp_path, lines) as found:
        found.call("--forced", "--isolation", "shared,strict", behave=misled)
        page, checker = found.page, Checker()
        checker.feed(page)
        assert checker.open == []
        assert "script" not in checker.found
        assert {"svg", "table", "details"} <= checker.found
        assert "&lt;script&gt;" in page
        for title in (
            *("Facts", "What a persona decides", "The choice of mode", "Is the probability one"),
            *(
                "right to wrong",
                "Regret",
                "Another persona",
                "Parity",
                "Soundness and cost",
                "The worst",
            ),
        ):
            assert title in page
        # General mode is taken for facts: forced personalised would lose all of them.
        assert found.value("accuracy", "forced/personalized", "unaligned", "exact") == 0.0
        assert found.value("regret", "auto/shared", "all", "exact") == 0.0
        assert found.value("swap_invariance", "forced/general", "objective") == 1.0


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    """The second run loses 5 of 20 facts to an unaligned persona, the first none."""

    def loses(asked: Request) -> Reply:
        is_lost = asked.condition is Shown.UNALIGNED and int(asked.item.id[-3:]) % 4 == 0
        return Reply("beetroot", Mode.GENERAL, 0.5) if is_lost else right(asked)

    folders = []
    for name, behave in (("first", right), ("second", loses)):
        (tmp_path / name).mkdir()
        with bench(tmp_path / name, facts(20)) as found:
            found.call(behave=behave)
            folders.append(found.out)
    page = tmp_path / "compare.html"
    told = ["compare", *map(str, folders), "--out", str(page)]
    result = CliRunner().invoke(evaluate_app, told, terminal_width=200, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    line = next(one for one in result.output.splitlines() if "interference, read exactly" in one)
    assert "+25.0 (" in line
    checker = Checker()
    checker.feed(page.read_text())
    assert "by 0.0 points in sim and by \u221225.0 points in sim" in page.read_text()
    # Without a run there, or of another suite, nothing is compared.
    other = Bench(tmp_path, facts(3))
    assert CliRunner().invoke(evaluate_app, ["compare", str(other.out), told[1]]).exit_code == 1


def test_only_what_both_were_asked_is_compared(tmp_path: Path) -> None:
    """The second run alone asked beside the fitting persona, twice, and took the wrong mode."""

    def strays(asked: Request) -> Reply:
        mode = Mode.PERSONALIZED if asked.condition is Shown.ALIGNED else Mode.GENERAL
        return Reply(asked.item.answers[0], mode)

    folders = []
    for name, conditions, seeds in (
        ("first", "none,unaligned", "1"),
        ("second", "none,aligned,unaligned", "2"),
    ):
        (tmp_path / name).mkdir()
        with bench(tmp_path / name, facts(8)) as found:
            told = ["--conditions", conditions, "--seeds", seeds, "--temperature", "0"]
            found.call(*told, behave=strays)
            folders.append(found.out)
    pairs = {(p.label.measure, p.label.part): p for p in compare(*folders).pairs}
    agreement = pairs["agreement", "all"]
    assert (agreement.first.value, agreement.second.value) == (1.0, 1.0)
    assert agreement.second.answers == agreement.first.answers == 16


@pytest.mark.parametrize("isolation", ["shared", "shared,strict"])
def test_the_gateway_is_evaluated(
    gateway: Gateway, script: Script, tmp_path: Path, isolation: str
) -> None:
    """Over the fake engine, which answers "1001" in general mode whatever it is asked."""
    script.answer = "It is a sum.\n\n<answer>1001</answer>"
    suite, out = tmp_path / "suite.jsonl", tmp_path / "run"
    suite.write_text(write_lines([*facts(4), *wishes(2)]))
    told = ["--url", gateway.url, "--model", MODEL, "--suite", str(suite), "--out", str(out)]
    result = CliRunner().invoke(evaluate_app, [*told, "--forced", "--isolation", isolation])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["asked"]["has_modes"] is True
    assert report["failures"] == {}
    found = {
        (row["label"]["measure"], row["label"]["way"], row["label"]["part"]): row["estimate"]
        for row in report["rows"]
        if row["label"]["reading"] in ("", "exact")
    }
    # fact-001 is "What is 1 plus 1000?"
    assert found["accuracy", "auto/shared", "none"]["value"] == 0.25
    assert found["valid_format", "auto/shared", "all"]["value"] == 1.0
    assert found["personalized_rate", "auto/shared", "objective/none"]["value"] == 0.0
    assert found["latency", "forced/personalized", "personalized"]["answers"] == 12
    # sigmoid(-2 - -1) = 0.269
    histogram = next(one for one in report["histograms"] if one["kind"] == "objective")
    assert histogram["counts"][5] == 12
