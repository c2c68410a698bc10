"""A bench for evaluations: a suite, a simulated endpoint that answers it, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.simulated_endpoint import MODEL, Behaviour, Simulated, right, running, write_lines
from training.evaluation.cli import evaluate_app
from training.items import load_items


class Bench:
    """`call` runs the command; `row` reads a figure from the report that it wrote."""

    def __init__(self, folder: Path, lines: list[dict[str, Any]]) -> None:
        self.suite, self.out = folder / "suite.jsonl", folder / "run"
        self.suite.write_text(write_lines(lines))
        self.served = Simulated(load_items(self.suite), right)

    def call(self, *options: str, behave: Behaviour | None = None, status: int = 0) -> str:
        self.served.behave = behave or self.served.behave
        self.served.seen.clear()
        where = ["--url", self.served.url, "--model", MODEL, "--suite", str(self.suite)]
        told = [*where, "--out", str(self.out), "--retries", "0", *options]
        result = CliRunner().invoke(evaluate_app, told)
        assert result.exit_code == status, result.output
        return " ".join(result.output.split())

    @property
    def report(self) -> Any:
        return json.loads((self.out / "report.json").read_text())

    @property
    def page(self) -> str:
        return (self.out / "report.html").read_text()

    def row(self, measure: str, way: str, part: str, reading: str = "") -> Any:
        wanted = {"measure": measure, "way": way, "part": part, "reading": reading}
        return next(row for row in self.report["rows"] if row["label"] == wanted)

    def value(self, measure: str, way: str, part: str, reading: str = "") -> float:
        found: float = self.row(measure, way, part, reading)["estimate"]["value"]
        return found


@contextmanager
def bench(folder: Path, lines: list[dict[str, Any]]) -> Iterator[Bench]:
    made = Bench(folder, lines)
    with running(made.served):
        yield made
