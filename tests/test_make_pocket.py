"""`make pocket`, with a product that only writes down what it is asked to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = """#!/bin/sh
echo "$*" >> asked
case "$*" in
"train sft configs/pocket-settle"*) folder=runs/pocket-settle ;;
"train sft"*) folder=runs/pocket-sft ;;
"train dual-grpo"*) folder=runs/pocket-dual-grpo ;;
"model export"*) mkdir -p runs/pocket; echo exported > runs/pocket/personadual.json ;;
"train calibrate"*) echo calibrated >> runs/pocket/personadual.json ;;
"-m benchmarks.figures"*) echo measured >> runs/pocket/personadual.json ;;
esac
[ -n "$folder" ] || exit 0
mkdir -p $folder/adapter
echo "$*" | tee $folder/run.md > $folder/loss.png
echo "$*" > $folder/adapter/adapter_model.safetensors
"""
LAUNCHER = """#!/bin/sh
[ "$1 $2 $3" = "--standalone --nproc_per_node 2" ] || exit 1
shift 3
exec "$@"
"""


def test_it_trains_measures_and_keeps_what_each_stage_left(tmp_path: Path) -> None:
    """A half-written adapter from an earlier kill stops nothing: the recipes themselves know what
    has ended."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    programs = {"personadual": COMMAND, "python": COMMAND, "torchrun": LAUNCHER}
    for name, content in programs.items():
        (binaries / name).write_text(content)
        (binaries / name).chmod(0o755)
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/cpu.lock", "pyproject.toml", ".venv/installed"):
        (tmp_path / name).touch()
    (tmp_path / "runs" / "pocket-sft" / "adapter").mkdir(parents=True)
    command = ["make", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "pocket", "DEVICE=cpu"]
    subprocess.run([*command, "PROCESSES=2"], check=True, capture_output=True)
    asked = [line.split(" configs")[0] for line in (tmp_path / "asked").read_text().splitlines()]
    assert [" ".join(line.split()[:2]) for line in asked] == [
        "model build",
        "train sft",
        "train dual-grpo",
        "-m benchmarks.settle",
        "train sft",
        "model export",
        "train calibrate",
        "-m benchmarks.arms",
        "-m benchmarks.figures",
    ]
    kept = tmp_path / "model" / "pocket"
    assert (kept / "personadual.json").read_text().split() == ["exported", "calibrated", "measured"]
    for stage in ("sft", "dual-grpo", "settle"):
        assert f"pocket-{stage}" in (kept / stage / "run.md").read_text()
        assert (kept / stage / "loss.png").is_file()
    assert "pocket-settle" in (kept / "adapter" / "adapter_model.safetensors").read_text()
