"""The items that Pocket settles on: `python -m benchmarks.settle`, after its DualGRPO.

Exports the adapter, serves it, and has it asked the questions (`personadual data own-answers`) in a
folder of its own for this adapter and these questions. What has ended there is not done again, and
an asking that was stopped goes on. The items are then where `configs/pocket-settle-*.toml` reads
them. It measures nothing; it stands here for what it shares with what does (`benchmarks.served`).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from benchmarks.arms import Run, once
from benchmarks.served import Serve, personadual, serving
from training.checkpoints import KEPT
from training.items import load_items, save_items
from training.pocket.make import to_settle

MAX_TOKENS, CONCURRENCY = 96, 32
QUESTIONS, ITEMS = "questions.jsonl", "items.jsonl"


def make(adapter: Path, out: Path, run: Run = personadual, serve: Serve = serving) -> Path:
    """The items, whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    asked, as_they_are = to_settle()
    save_items(asked, work := out / f".{QUESTIONS}")
    folder = out / digest(work, *(adapter / name for name in sorted(KEPT)))
    folder.mkdir(exist_ok=True)
    checkpoint, own = folder / "checkpoint", folder / ITEMS
    questions = work.replace(folder / QUESTIONS)
    once(folder, "exported", lambda: run("model", "export", adapter, checkpoint))

    def ask() -> None:
        with serve(checkpoint, folder / "service") as url:
            run(
                *("data", "own-answers", url, checkpoint.name, questions, own),
                *("--max-tokens", MAX_TOKENS, "--concurrency", CONCURRENCY),
            )

    once(folder, "asked", ask)
    save_items([*load_items(own), *as_they_are], work := out / f".{ITEMS}")
    return work.replace(out / ITEMS)


def digest(*files: Path) -> str:
    found = hashlib.sha256(f"{MAX_TOKENS}".encode())
    for path in files:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, default=Path("runs/pocket-dual-grpo/adapter"))
    parser.add_argument("--out", type=Path, default=Path("runs/pocket-own"))
    options = parser.parse_args()
    print(f"  {make(options.adapter, options.out)}")


if __name__ == "__main__":
    main()
