"""DualGRPO with rollouts by the real vLLM in the same process, which needs one of its own: vLLM
keeps its settings for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.random_models import random_model

pytestmark = pytest.mark.engine
WORKER = "tests.colocate_worker"


@pytest.fixture(scope="module")
def small(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose attention heads are as wide as vLLM's kernels ask, and whose context is
    longer than there is memory for."""
    sizes = {"hidden_size": 128, "num_attention_heads": 2, "max_position_embeddings": 2**21}
    return random_model(pocket, tmp_path_factory.mktemp("small"), **sizes)


def test_two_steps_whose_rollouts_vllm_samples(small: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    told = [sys.executable, "-m", WORKER, str(small), str(tmp_path / "run")]
    done = subprocess.run(told, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = json.loads(done.stdout.splitlines()[-1])
    assert len(steps) == 2
    for step in steps:
        assert sorted(step["modes"]) == ["general"] * 2 + ["personalized"] * 2
        assert max(step["lengths"]) <= 24, "a response holds its tag"
        assert step["tags_have_no_sampling_logp"]
        assert step["ratio_of_tags"] == [1.0, 1.0], "the least and the largest"
        assert step["ratio_is_per_token"]
        assert step["passes"] == 2, "policy and reference, and none for the tags alone"
