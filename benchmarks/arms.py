"""The comparison arms of DualGRPO: `python -m benchmarks.arms`; hours on a CPU.

All reinforced arms start from one SFT adapter and see the same prompts for as many steps. Each arm
is trained, exported, calibrated, served and evaluated by the product's own commands, in a folder of
its own; a stage that has ended there is not done again, so that the same command goes on where it
was stopped. What was begun with other settings is refused. The table is written again after every
arm. A GPU machine without vLLM does the trainings alone (`--train-only`), each in a process of its
own if one likes; the same command without it, where that folder then lies, does the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.served import cell, evaluate_pocket, markdown, personadual, serving, serving_base
from model.mode import Mode
from training.evaluation.suites import POCKET
from training.items import load_items, save_items


@dataclass(frozen=True)
class Arm:
    """What an arm changes in the configuration of its recipe; without one it is the SFT adapter.

    One that has a single mode is not calibrated: there is no choice to be sure of. Where `asking`
    is a mode, the items that ask for another one are left out.
    """

    recipe: Literal["sft", "dual-grpo"] | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    has_choice: bool = True
    asking: Mode | None = None


def dual(**options: Any) -> Arm:
    """DualGRPO with the paper's settings but for these."""
    return Arm("dual-grpo", {"dual": options})


ARMS = {
    "SFT only": Arm(),
    "SFT only, personalised mode alone": Arm("sft", {"only_mode": "personalized"}, False),
    "SFT only, personal questions alone": Arm(
        "sft", {"only_mode": "personalized"}, False, Mode.PERSONALIZED
    ),
    "GRPO, tags not forced": Arm("dual-grpo", {"forced_tags": False}),
    "forced tags, plain advantage": dual(variant="plain", prefix_weight=1.0),
    "DualGRPO, paper": dual(variant="paper"),
    "DualGRPO, behaviour": dual(variant="paper", prefix_credit="behaviour"),
    "DualGRPO, behaviour and capped KL": dual(
        variant="paper", prefix_credit="behaviour", prefix_kl="capped"
    ),
}
BASE = "base, prompted"
ROWS = (
    ("mode as the kind asks", "agreement", "all", "auto/shared"),
    ("personal questions right", "personalized_accuracy", "aligned", "auto/shared"),
    ("facts right, no persona", "accuracy", "none", "auto/shared"),
    ("facts right, unaligned persona", "accuracy", "unaligned", "auto/shared"),
    ("interference", "interference", "objective", "auto/shared"),
    ("facts turned wrong by it", "negative_flips", "unaligned", "auto/shared"),
    ("forced general keeps its answer", "swap_invariance", "objective", "forced/general"),
    ("regret", "regret", "all", "auto/shared"),
    ("valid format", "valid_format", "all", "auto/shared"),
)
REPORT = "evaluation/report.json"
Run = Callable[..., None]


def once(folder: Path, stage: str, work: Callable[[], None]) -> None:
    """Do a stage of an arm unless it has ended; the mark is set after it, not by its output."""
    mark = folder / f"{stage}.ended"
    if not mark.exists():
        work()
        mark.touch()


def train(
    folder: Path, arm: Arm, options: argparse.Namespace, seed: int, run: Run = personadual
) -> Path:
    """The adapter of one arm, trained to its end."""
    if arm.recipe is None:
        return Path(options.sft)
    config = configured(folder, arm, options, seed)
    if arm.asking is not None:
        items = [item for item in load_items(Path(config["data"])) if item.mode is arm.asking]
        config["data"] = str(folder / "items.jsonl")
        save_items(items, Path(config["data"]))
    path = folder / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    once(folder, "trained", lambda: run("train", arm.recipe, path, processes=options.processes))
    return folder / "run" / "adapter"


def configured(folder: Path, arm: Arm, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    source = options.sft_config if arm.recipe == "sft" else options.config
    config = _read(source)
    config.pop("dual", None)
    config |= {**arm.changes, "seed": seed, "out": str(folder / "run")}
    if arm.recipe == "dual-grpo":
        config["adapter"] = str(options.sft)
        if options.steps is not None:
            config["max_steps"] = options.steps
    return config


def to_toml(config: dict[str, Any]) -> str:
    """TOML of plain values and of one level of tables; its strings are JSON's."""
    tables = {name: value for name, value in config.items() if isinstance(value, dict)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in config.items() if k not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def prepare(
    folder: Path, arm: Arm, adapter: Path, options: argparse.Namespace, run: Run = personadual
) -> Path:
    """The checkpoint of one arm, exported and calibrated."""
    checkpoint = folder / "checkpoint"

    def work() -> None:
        run("model", "export", adapter, checkpoint)
        if arm.has_choice:
            run("train", "calibrate", checkpoint, options.calibration)

    once(folder, "prepared", work)
    return checkpoint


def measure(folder: Path, checkpoint: Path, options: argparse.Namespace) -> None:
    """Serve and evaluate one checkpoint, in the one isolation that the table has."""
    with serving(checkpoint, folder / "service") as url:
        evaluate_pocket(url, checkpoint.name, folder / "evaluation", options.limit, "shared")


def measure_base(folder: Path, options: argparse.Namespace) -> None:
    """The untrained base on a vLLM without plug-ins, the persona in its system message."""
    model = Path(_read(options.config)["model"])
    with serving_base(model, folder) as url:
        evaluate_pocket(url, model.name, folder / "evaluation", options.limit)


def table(folders: dict[str, list[Path]]) -> str:
    """Markdown: an arm per row, percentages with 95 % intervals; of several seeds, each."""
    rows = []
    for arm, runs in folders.items():
        ended = [run for run in runs if (run / "evaluated.ended").exists()]
        reports = [json.loads((run / REPORT).read_bytes()) for run in ended]
        if reports:
            cells = ("<br>".join(cell(report, *row) for report in reports) for _, *row in ROWS)
            rows.append([arm, *cells])
    return markdown(["arm", *(name for name, *_ in ROWS)], rows)


def pin(options: argparse.Namespace, suite: Path = POCKET) -> None:
    """Write down what this folder's arms are made of, or see that it is what they were made of.

    Raises:
        SystemExit: it is not.
    """
    # The suite by its content alone: where trainings and figures are made may be two checkouts.
    now = {"limit": options.limit, "model": _read(options.config)["model"], "suite": _digest(suite)}
    if options.only != [BASE]:  # nothing of a training is in the base's figures
        files = {name: getattr(options, name) for name in ("config", "sft_config", "calibration")}
        files |= {
            f"{name}'s data": Path(_read(files[name])["data"]) for name in ("config", "sft_config")
        }
        files["sft"] = options.sft / "adapter_model.safetensors"
        now["steps"] = options.steps
        now |= {name: f"{path}, {_digest(path)}" for name, path in files.items()}
    path = options.out / "settings.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if differing := [name for name in before.keys() & now if before[name] != now[name]]:
            raise SystemExit(
                f"{options.out} holds arms of other settings ({', '.join(sorted(differing))});"
                " name another --out"
            )
        now = before | now
        if now == before:  # several of these may run at a time, and read this file
            return
    path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")


def _read(config: Path) -> dict[str, Any]:
    return tomllib.loads(config.read_text(encoding="utf-8"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else "absent"


def places(options: argparse.Namespace) -> dict[str, list[Path]]:
    """The folders of the chosen arms, one for each seed."""
    found = {BASE: [options.out / "base"]}
    for name, arm in ARMS.items():
        plain = "".join(c if c.isalnum() else "-" for c in name)
        seeds = range(1 if arm.recipe is None else options.seeds)
        found[name] = [options.out / f"{plain}-{42 + seed}" for seed in seeds]
    return {name: runs for name, runs in found.items() if name in (options.only or found)}


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/pocket-dual-grpo-cpu.toml"))
    parser.add_argument("--sft-config", type=Path, default=Path("configs/pocket-sft-cpu.toml"))
    parser.add_argument("--sft", type=Path, default=Path("runs/pocket-sft/adapter"))
    parser.add_argument(
        "--calibration", type=Path, default=Path("training/pocket/data/calibration.jsonl")
    )
    parser.add_argument("--out", type=Path, default=Path("runs/arms"))
    parser.add_argument(
        "--only", action="append", choices=[BASE, *ARMS], metavar="NAME", help="again for more"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="of each training")
    parser.add_argument("--train-only", action="store_true", help="stop behind the trainings")
    parser.add_argument("--steps", type=int, help="of DualGRPO, instead of the configuration's")
    parser.add_argument("--limit", type=int, default=200, help="held-out items to ask")
    return parser.parse_args(arguments)


def follow(
    name: str, folder: Path, seed: int, options: argparse.Namespace, run: Run = personadual
) -> None:
    """One arm of one seed to its end, or to that of its training."""
    folder.mkdir(exist_ok=True)
    if name == BASE:
        if not options.train_only:
            once(folder, "evaluated", lambda: measure_base(folder, options))
        return
    adapter = train(folder, ARMS[name], options, seed, run)
    if not options.train_only:
        checkpoint = prepare(folder, ARMS[name], adapter, options, run)
        once(folder, "evaluated", lambda: measure(folder, checkpoint, options))


def main() -> None:
    options = read_options()
    options.out.mkdir(parents=True, exist_ok=True)
    pin(options)
    everything = places(argparse.Namespace(**{**vars(options), "only": None}))
    for name, folders in places(options).items():
        for seed, folder in enumerate(folders, start=42):
            follow(name, folder, seed, options)
            (options.out / "arms.md").write_text(table(everything), encoding="utf-8")
    print((options.out / "arms.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
