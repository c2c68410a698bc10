"""The order of the prompts, which a run that goes on must find again."""

from __future__ import annotations

from typing import Any


def test_the_order_is_that_of_seed_and_epoch() -> None:
    """A process that begins in the second epoch has the order of one that was there before."""
    from trl.trainer.utils import RepeatSampler

    from training.ordered_trainer import EpochSampler

    epoch = 0
    named: dict[str, Any] = {"mini_repeat_count": 2, "batch_size": 2, "seed": 42}
    whole = EpochSampler(range(8), epoch=lambda: epoch, **named)
    first = list(whole)
    assert first == list(RepeatSampler(range(8), **named))
    epoch = 1
    second = list(whole)
    assert second != first
    assert list(EpochSampler(range(8), epoch=lambda: 1, **named)) == second
    assert list(EpochSampler(range(8), epoch=lambda: 0, **{**named, "seed": 43})) != second
