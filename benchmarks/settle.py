"""The items that Pocket settles on: `python -m benchmarks.settle`, after its SFT.

Exports the SFT adapter, serves it, and has it asked the questions (`personadual data own-answers`)
in a folder that is this adapter's own. What has ended there is not done again, and an asking that
was stopped goes on. The items are then where `configs/pocket-settle-*.toml` reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.arms import Run, once
from benchmarks.served import personadual, serving
from training.items import save_items
from training.pocket.make import to_settle

MAX_TOKENS, CONCURRENCY = 96, 32
ITEMS = "items.jsonl"
Serve = Callable[[Path, Path], AbstractContextManager[str]]


def make(sft: Path, out: Path, run: Run = personadual, serve: Serve = serving) -> Path:
    """The items, whole or not at all."""
    weights = (sft / "adapter_model.safetensors").read_bytes()
    folder = out / hashlib.sha256(weights).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, questions, own = (
        folder / name for name in ("checkpoint", "questions.jsonl", ITEMS)
    )
    once(folder, "exported", lambda: run("model", "export", sft, checkpoint))

    def ask() -> None:
        save_items(to_settle(), questions)
        with serve(checkpoint, folder / "service") as url:
            run(
                *("data", "own-answers", url, checkpoint.name, questions, own),
                *("--max-tokens", MAX_TOKENS, "--concurrency", CONCURRENCY),
            )

    once(folder, "asked", ask)
    work = out / f".{ITEMS}"
    shutil.copy(own, work)
    return work.replace(out / ITEMS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sft", type=Path, default=Path("runs/pocket-sft/adapter"))
    parser.add_argument("--out", type=Path, default=Path("runs/pocket-own"))
    options = parser.parse_args()
    print(f"  {make(options.sft, options.out)}")


if __name__ == "__main__":
    main()
