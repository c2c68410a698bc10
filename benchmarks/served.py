"""The product's own commands, for what is measured through them: serving, evaluating."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.serve.preflight import free_port


def personadual(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "app", *map(str, arguments)], check=True)


@contextmanager
def serving(checkpoint: Path, data: Path) -> Iterator[str]:
    """`personadual serve` until the block ends; it says on its output that it is ready."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = ["-m", "app", "serve", "--port", port, "--model", checkpoint, "--data", data]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        if not any(url in line for line in process.stdout):
            raise SystemExit("the service did not start; its last words stand above")
        yield url
    finally:
        process.terminate()
        process.communicate()


def evaluate(url: str, model: str, out: Path, limit: int) -> None:
    """The Pocket set under every persona, each mode also forced, both isolations; goes on where it
    was stopped."""
    personadual(
        *("evaluate", "--url", url, "--model", model, "--suite", "pocket", "--forced"),
        *("--conditions", "none,aligned,unaligned,injected"),
        *("--limit", limit, "--isolation", "shared,strict", "--out", out),
    )
