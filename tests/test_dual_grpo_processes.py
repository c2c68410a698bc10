"""DualGRPO in two processes: a group that lies across both has one mean per mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_S = 300


@pytest.fixture(scope="module")
def ranks(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes saw, after two steps together (gloo, on the CPU)."""
    out = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.dual_grpo_worker", str(tiny), str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_a_group_lies_across_both(ranks: list[dict[str, Any]]) -> None:
    """One process generates its general half, the other its personalised one."""
    for first, second in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True):
        assert first["prompts"] == second["prompts"]
        assert len(set(first["prompts"])) == 1
        assert (set(first["modes"]), set(second["modes"])) == ({"general"}, {"personalized"})


def test_each_row_is_compared_with_the_other_process(ranks: list[dict[str, Any]]) -> None:
    """Personalised earned w and general 0 in every rollout: r - mu_other is w and -w, by hand."""
    for rank, sign in ((0, -1.0), (1, 1.0)):
        for step, gap in zip(ranks[rank]["seen"], ranks[rank]["gaps"], strict=True):
            worth = step["prompts"][0].count("Long") + 1.0
            assert gap == pytest.approx(worth)
            assert step["behind"] == pytest.approx([sign * worth] * 2)
    assert ranks[0]["gaps"] == ranks[1]["gaps"]
