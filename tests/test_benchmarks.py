"""The benchmarks: each that needs no real engine starts and prints its table, in small."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.engine import measure_gate, measure_strict
from benchmarks.servers import Server, own_folder, own_redis, running, serve
from model.errors import StartFailed
from model.mode import Tags
from model.vllm import VllmEngine
from testbed.fake_engine import FakeEngine, Script
from testbed.scripted_reply import TAG_IDS

ROOT = Path(__file__).parents[1]
SHORT = {
    "gateway": ("--seconds 0.3", ["first byte, ms", "streams/s, 16 clients", "resident: "]),
    "shadow": ("--seconds 0.2", ["whole answer to its end", "32 clients", "all: "]),
    "tracing": ("--rounds 2 --requests 20", ["stream of 100 tokens", "on, 10 %", "MB resident"]),
    "soak": ("--minutes 0.05 --callers 8", ["requests in", "wrong replies 0, tags that show 0"]),
}
"""What makes each short, and what it then prints."""
NEEDS_VLLM = {
    "engine": "two real vLLM servers at once",
    "arms": "hours of training, and each arm served and evaluated",
    "settle": "a checkpoint served and asked",
    "figures": "a checkpoint served and evaluated",
    "facts": "the same; its flow is tried in `test_facts.py`",
}
"""Too long for here, and why."""
TINY = "--turns 1 --steps 1 --prompts 1 --rollouts 2 --response 10 --model"
PAGES = [ROOT / "README.md", ROOT / "Makefile", ROOT / "CHANGELOG.md"]
PAGES += [*ROOT.glob("docs/*.md"), *ROOT.glob("model/**/*.md"), *ROOT.glob("benchmarks/*.py")]


def printed(name: str, *options: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # more of torch only wait, on busy cores
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SHORT)
def test_it_prints_its_table(name: str) -> None:
    options, wanted = SHORT[name]
    table = printed(name, *options.split())
    for row in wanted:
        assert row in table


def test_it_prints_what_a_step_costs(tiny: Path) -> None:
    """Of a model of two layers."""
    table = printed("dual_grpo", *TINY.split(), str(tiny))
    for row in ("s per step", "DualGRPO, paper", "DualGRPO, behaviour"):
        assert row in table


def test_the_toy_draws_its_picture(tmp_path: Path) -> None:
    printed("toy", str(tmp_path / "toy.png"))
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")


async def test_the_tables_of_the_real_engine(
    fake: FakeEngine, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the fake one, which cannot say what they would hold."""
    asked: Any = SimpleNamespace(url=fake.url, checkpoint=tmp_path)
    await measure_gate(asked, asked, rounds=1)
    await measure_strict(asked, rounds=1)
    table = capsys.readouterr().out
    for row in ("no plug-in", "gated, with the probability", "personalized, strict"):
        assert row in table


def test_every_command_of_the_pages_is_one_of_these() -> None:
    """And is written in one way."""
    pages = "".join(page.read_text() for page in PAGES)
    assert not re.findall(r"python \S*benchmarks/\w+", pages)
    named = set(re.findall(r"python -m benchmarks\.(\w+)", pages))
    tried = {*SHORT, *NEEDS_VLLM, "dual_grpo", "toy"}
    assert named - {"echo"} == tried  # the soak's engine is `echo`
    for name in named:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()


@pytest.fixture(scope="module")
def instant() -> Iterator[Server]:
    with serve("benchmarks.instant:create") as server:
        yield server


async def test_the_instant_engine_is_one_that_the_gateway_takes(instant: Server) -> None:
    """It has the gate, and the default tags as SmolLM2's tokenizer has them."""
    await instant.wait_up("/health")
    engine = VllmEngine(instant.url)
    try:
        assert await engine.tag_ids(Tags()) == TAG_IDS
        assert await engine.has_gate()
    finally:
        await engine.close()


def test_a_server_that_ends_says_why_and_leaves_its_log() -> None:
    with pytest.raises(StartFailed, match="no_such_module") as told:  # noqa: SIM117
        with serve("no_such_module:create") as server:
            asyncio.run(server.wait_up("/health"))
    log = Path(re.findall(r"all of it: (.+)\)", str(told.value))[0])
    assert "no_such_module" in log.read_text()
    log.unlink()
    log.parent.rmdir()


def test_nothing_is_left_of_a_server_that_was_ended() -> None:
    with own_redis() as url:
        folder = Path(url.removeprefix("unix://")).parent
        assert folder.is_dir()
    assert not folder.exists()
    with own_folder() as folder, running("sleep", ["sleep", "60"], folder) as child:
        place = Path(f"/proc/{child.pid}")
        assert place.exists()
    assert not place.exists()
