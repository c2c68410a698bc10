"""The comparison arms of DualGRPO: `python -m benchmarks.arms`; hours on a CPU.

All arms start from one SFT adapter and see the same prompts for as many steps. Each is trained,
exported, calibrated, served and evaluated by the product's own commands, in a folder of its own;
what is there already is not done again, so that the same command goes on where it was stopped.
The table is written again after every arm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.serve.preflight import free_port
from tests.real_engine import RealEngine

ARMS: dict[str, dict[str, Any] | None] = {
    "SFT only": None,
    "GRPO, tags not forced": {"forced_tags": False},
    "forced tags, plain advantage": {"dual": {"variant": "plain"}},
    "DualGRPO, paper": {"dual": {"variant": "paper"}},
    "DualGRPO, behaviour": {
        "dual": {"variant": "paper", "prefix_credit": "behaviour", "prefix_kl": "capped"}
    },
}
"""What each arm changes in the configuration; None is not reinforced at all."""
BASE = "base, prompted"
ROWS = (
    ("mode as the kind asks", "agreement", "all", "auto/shared"),
    ("personal questions right", "personalized_accuracy", "aligned", "auto/shared"),
    ("facts right, no persona", "accuracy", "none", "auto/shared"),
    ("facts right, unaligned persona", "accuracy", "unaligned", "auto/shared"),
    ("interference", "interference", "objective", "auto/shared"),
    ("forced general keeps its answer", "swap_invariance", "objective", "forced/general"),
    ("regret", "regret", "all", "auto/shared"),
    ("valid format", "valid_format", "all", "auto/shared"),
)
ENDED = "evaluation/report.json"


def personadual(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "app", *map(str, arguments)], check=True)


def train(folder: Path, changes: dict[str, Any], options: argparse.Namespace, seed: int) -> Path:
    """The adapter of one arm, trained to its end."""
    adapter = folder / "run" / "adapter"
    if adapter.exists():
        return adapter
    config = tomllib.loads(options.config.read_text(encoding="utf-8"))
    dual = changes.get("dual", {})
    config |= {**changes, "dual": dual, "seed": seed, "out": str(folder / "run")}
    config |= {"adapter": str(options.sft), "max_steps": options.steps or config["max_steps"]}
    if config.get("forced_tags") is False:
        del config["dual"]
    path = folder / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    personadual("train", "dual-grpo", path)
    return adapter


def to_toml(config: dict[str, Any]) -> str:
    """TOML of plain values and of one level of tables; its strings are JSON's."""
    tables = {name: value for name, value in config.items() if isinstance(value, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in config.items() if k not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def measure(folder: Path, adapter: Path, options: argparse.Namespace) -> None:
    """Export, calibrate, serve and evaluate one adapter."""
    checkpoint = folder / "checkpoint"
    if not (checkpoint / "config.json").exists():
        personadual("model", "export", adapter, checkpoint)
        personadual("train", "calibrate", checkpoint, options.calibration)
    port = free_port()
    command = ["-m", "app", "serve", "--port", port, "--model", checkpoint]
    command += ["--data", folder / "service"]
    with serving([sys.executable, *map(str, command)], f"http://127.0.0.1:{port}") as url:
        evaluate(url, checkpoint.name, folder, options)


def measure_base(folder: Path, model: Path, options: argparse.Namespace) -> None:
    """The untrained base on a vLLM without plug-ins, the persona in its system message."""
    engine = RealEngine(model.resolve(), folder, [], has_gate=False)
    try:
        engine.start()
        evaluate(engine.url, model.name, folder, options)
    finally:
        engine.stop()


def evaluate(url: str, model: str, folder: Path, options: argparse.Namespace) -> None:
    personadual(
        *("evaluate", "--url", url, "--model", model, "--suite", "pocket", "--forced"),
        *("--limit", options.limit, "--isolation", "shared,strict"),
        *("--out", folder / "evaluation"),
    )


@contextmanager
def serving(command: list[str], url: str) -> Iterator[str]:
    """`personadual serve` until the block ends; it says on its output that it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not any(url in line for line in process.stdout):
            raise SystemExit("the service did not start; its last words stand above")
        yield url
    finally:
        process.terminate()
        process.communicate()


def table(folders: dict[str, list[Path]]) -> str:
    """Markdown: an arm per row, percentages with 95 % intervals; of several seeds, each."""
    lines = [
        "| arm | " + " | ".join(name for name, *_ in ROWS) + " |",
        "| --- |" + " --- |" * len(ROWS),
    ]
    for arm, runs in folders.items():
        reports = [json.loads((run / ENDED).read_bytes()) for run in runs if (run / ENDED).exists()]
        if reports:
            cells = ("<br>".join(cell(report, *row) for report in reports) for _, *row in ROWS)
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(report: dict[str, Any], measure: str, part: str, way: str) -> str:
    """The base has no tags to forget: its text is read leniently, and no mode is its own."""
    reading = "exact" if report["asked"]["has_modes"] else "lenient"
    way = way if report["asked"]["has_modes"] else report["headline"]["way"]
    for row in report["rows"]:
        label = row["label"]
        is_wanted = (label["measure"], label["way"], label["part"]) == (measure, way, part)
        if is_wanted and label["reading"] in ("", reading):
            ends = (f"{100 * row['estimate'][name]:.1f}" for name in ("value", "low", "high"))
            return "{} [{}, {}]".format(*ends)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/pocket-dual-grpo-cpu.toml"))
    parser.add_argument("--sft", type=Path, default=Path("runs/pocket-sft/adapter"))
    parser.add_argument(
        "--calibration", type=Path, default=Path("training/pocket/data/calibration.jsonl")
    )
    parser.add_argument("--out", type=Path, default=Path("runs/arms"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--limit", type=int, default=200, help="held-out items to ask")
    options = parser.parse_args()
    seeds = range(42, 42 + options.seeds)
    folders = {BASE: [options.out / "base"]}
    for arm, changes in ARMS.items():
        name = "".join(c if c.isalnum() else "-" for c in arm)
        alone = changes is None
        folders[arm] = [options.out / f"{name}-{seed}" for seed in ([42] if alone else seeds)]
    base = Path(tomllib.loads(options.config.read_text(encoding="utf-8"))["model"])
    for arm, runs in folders.items():
        for seed, folder in zip(seeds, runs, strict=False):
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / ENDED).exists():
                continue
            if arm == BASE:
                measure_base(folder, base, options)
            else:
                changes = ARMS[arm]
                adapter = options.sft if changes is None else train(folder, changes, options, seed)
                measure(folder, adapter, options)
            (options.out / "arms.md").write_text(table(folders), encoding="utf-8")
    print(table(folders))


if __name__ == "__main__":
    main()
