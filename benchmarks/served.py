"""What is measured goes through the commands of the product: serving, evaluating; its reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from app.serve.child import die_with
from app.serve.preflight import free_port
from testbed.real_engine import RealEngine

Serve = Callable[[Path, Path], AbstractContextManager[str]]
"""Serves a checkpoint, with a folder for what it keeps; gives its address."""


def personadual(*arguments: object, processes: int = 1) -> None:
    """One of its commands; a training may have several processes."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    launcher = several if processes > 1 else []
    subprocess.run([sys.executable, *launcher, "-m", "app", *map(str, arguments)], check=True)


@contextmanager
def serving(checkpoint: Path, data: Path) -> Iterator[str]:
    """`personadual serve` until the block ends, or this process; it says when it is ready."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = ["-m", "app", "serve", "--port", port, "--model", checkpoint, "--data", data]
    parent = os.getpid()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: die_with(parent),
    )
    try:
        assert process.stdout is not None
        if not any(url in line for line in process.stdout):
            raise SystemExit("the service did not start; its last words are above")
        yield url
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def serving_base(model: Path, data: Path) -> Iterator[str]:
    """A vLLM without our plug-ins over a checkpoint without modes, until the block ends."""
    engine = RealEngine(model.resolve(), data, [], has_gate=False)
    try:
        engine.start()
        yield engine.url
    finally:
        engine.stop()


def evaluate(url: str, model: str, out: Path, *what: object) -> None:
    """What is asked, and how; goes on where it was stopped."""
    personadual("evaluate", "--url", url, "--model", model, *what, "--out", out)


def evaluate_pocket(
    url: str, model: str, out: Path, limit: int, isolation: str = "shared,strict"
) -> None:
    """The Pocket set under every persona, each mode also forced."""
    evaluate(
        *(url, model, out, "--suite", "pocket", "--forced", "--limit", limit),
        *("--conditions", "none,aligned,unaligned,injected", "--isolation", isolation),
    )


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(report: dict[str, Any], measure: str, part: str, way: str) -> str:
    """A row of a report in hundreds with its 95 % interval; nothing where it has no such row.

    A checkpoint without modes is read leniently, as it has no tags to forget, and in its one way.
    """
    has_modes = report["asked"]["has_modes"]
    if way == "auto/shared" and not has_modes:
        way = report["headline"]["way"]
    for row in report["rows"]:
        label = row["label"]
        is_wanted = (label["measure"], label["way"], label["part"]) == (measure, way, part)
        if is_wanted and label["reading"] in ("", "exact" if has_modes else "lenient"):
            ends = (f"{100 * row['estimate'][name]:.1f}" for name in ("value", "low", "high"))
            return "{} [{}, {}]".format(*ends)
    return ""
