"""TRL's GRPOTrainer, whose order of prompts is that of the seed and the epoch.

TRL's own sampler draws every epoch's order from one generator. A process that begins in a later
epoch, as after a kill, would draw the first one's again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

APART = 1_000_003
"""Between the seeds of two epochs: those of neighbouring seeds do not meet."""


class EpochSampler(RepeatSampler):  # type: ignore[misc]
    """A RepeatSampler that is seeded anew in each epoch; the first one's order is TRL's."""

    def __init__(self, *arguments: Any, epoch: Callable[[], int], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + APART * self._epoch())
        return super().__iter__()  # type: ignore[no-any-return]


class OrderedGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """A GRPOTrainer that can go on in any epoch."""

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        made = super()._get_train_sampler(dataset)
        return EpochSampler(
            made.data_source,
            mini_repeat_count=made.mini_repeat_count,
            batch_size=made.batch_size,
            repeat_count=made.repeat_count,
            shuffle=made.shuffle,
            seed=made.seed,
            # Of the state, which a checkpoint keeps: accelerate's wrappers pass no epoch on.
            epoch=lambda: int(self.state.epoch or 0),
        )
