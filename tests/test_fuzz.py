"""Readers of bytes that others write, driven by any bytes: a short run of `make fuzz`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, CUTS, TARGETS, seeds

SECONDS = 3
MAX_CORPUS_BYTES = 200_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_passes(name: str) -> None:
    """Also cut at every place, and with its bytes changed one at a time."""
    for seed in seeds(name):
        TARGETS[name](seed)
        for place in range(0, len(seed), 1 + len(seed) // 40):
            TARGETS[name](bytes([place % 256] * CUTS) + seed[CUTS:])
            TARGETS[name](seed[:place] + bytes([seed[place] ^ 0x20]) + seed[place + 1 :])


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_pass(name: str) -> None:
    """Where no coverage leads the way: seeds cut out of each other, and bytes between them."""
    parts = st.one_of(st.sampled_from(seeds(name)).map(lambda seed: seed[CUTS:]), st.binary())

    @settings(max_examples=150, deadline=None)
    @given(st.binary(min_size=CUTS, max_size=CUTS), st.lists(parts, max_size=4))
    def drive(cuts: bytes, pieces: list[bytes]) -> None:
        TARGETS[name](cuts + b"".join(pieces))

    drive()


@pytest.mark.parametrize("name", TARGETS)
def test_atheris_finds_nothing(
    name: str, library: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """Some seconds by coverage, from the corpus on."""
    library("atheris")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, str(SECONDS), str(tmp_path)],
        cwd=CORPUS.parents[2],
        env={**os.environ, "PYTHONPATH": str(CORPUS.parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert "Done " in done.stderr, "it ran"


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_CORPUS_BYTES
