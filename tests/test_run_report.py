"""What a run leaves for its readers, whatever is left of its log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from training.begun import ENDED, LOG
from training.config import SftConfig
from training.report import write_run

FIRST = '{"step": 5, "cost/tokens_per_s": 100.0, "cost/peak_gb": 1.5}\n'
LAST = '{"step": 9, "cost/tokens_per_s": 300.0, "cost/peak_gb": 1.5}\n'


@pytest.mark.parametrize(
    ("log", "speed"),
    [
        (FIRST + LAST, 200),
        (FIRST + LAST[:-9], 100),
        (FIRST + LAST[:20] + LAST + LAST, 200),  # a run that went on behind half a line
        (FIRST + "\0" * 20 + "\n" + LAST, 200),
    ],
    ids=["whole", "torn at its end", "torn within", "lost power"],
)
def test_a_torn_line_costs_its_figures_and_not_the_run(
    tmp_path: Path, log: str, speed: int
) -> None:
    (tmp_path / LOG).write_text(log)
    state = SimpleNamespace(global_step=9, epoch=1.0, log_history=[])
    config = SftConfig(model=tmp_path, data=tmp_path, out=tmp_path)
    write_run(config, "SFT", state)
    said = (tmp_path / ENDED).read_text()
    assert "9 steps, 1.00 epochs" in said
    assert f"{speed} tokens/s at the median" in said
