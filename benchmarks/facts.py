"""Interference on every held-out fact: `python -m benchmarks.facts runs/pocket --base BASE`.

Two hundred items hold a hundred facts, on which a checkpoint is hardly told from another. Here each
is asked all of them, greedily, without a persona and beside the unaligned one: ten minutes a
checkpoint on two cores. Its answers lie in a folder by its weights; what was asked is not asked
again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import fingerprint
from benchmarks.served import Serve, cell, evaluate, markdown, serving, serving_base
from training.evaluation.suites import POCKET
from training.items import Condition, Item, Kind, load_items, save_items

ROWS = (
    ("facts right, no persona", "accuracy", "none"),
    ("facts right, unaligned persona", "accuracy", "unaligned"),
    ("interference", "interference", "objective"),
    ("turned wrong by it", "negative_flips", "unaligned"),
    ("turned right by it", "positive_flips", "unaligned"),
)


def facts(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.kind is Kind.OBJECTIVE]


def table(reports: dict[str, dict[str, Any]]) -> str:
    """Markdown: a checkpoint per row, in hundreds, with 95 % intervals."""
    rows = (
        [name, *(cell(report, *row, "auto/shared") for _, *row in ROWS)]
        for name, report in reports.items()
    )
    return markdown(["checkpoint", *(name for name, *_ in ROWS)], rows)


def measure(
    chosen: Iterable[tuple[Path, Serve]], out: Path, limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """The report of each checkpoint, by its name as it was given; `limit` is of the facts."""
    out.mkdir(parents=True, exist_ok=True)
    save_items(facts(load_items(POCKET)), suite := out / "facts.jsonl")
    what = ["--suite", suite, "--conditions", f"{Condition.NONE},{Condition.UNALIGNED}"]
    what += [] if limit is None else ["--limit", limit]
    reports = {}
    for path, serve in chosen:
        checkpoint = path.resolve()
        answers = out / fingerprint(checkpoint)
        with serve(checkpoint, out / "service") as url:
            evaluate(url, checkpoint.name, answers, *what)
        reports[str(path)] = json.loads((answers / "report.json").read_bytes())
        print(f"  {path}: {answers}")
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="*")
    parser.add_argument("--base", type=Path, help="one without modes, asked without our plug-ins")
    parser.add_argument("--out", type=Path, default=Path("runs/facts"))
    parser.add_argument("--limit", type=int, help="facts to ask, instead of all")
    options = parser.parse_args()
    if not options.checkpoints and options.base is None:
        parser.error("name a checkpoint, or the --base")
    chosen = [(path, serving) for path in options.checkpoints]
    chosen += [] if options.base is None else [(options.base, serving_base)]
    print(table(measure(chosen, options.out, options.limit)))


if __name__ == "__main__":
    main()
