"""TRL's trainers, made to go on where they were stopped: in their order, and from their weights.

Their own samplers draw every epoch's order from one generator, or from the process's own. A process
that begins in a later epoch, as after a kill, would draw the first one's again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import GRPOTrainer, SFTTrainer
from trl.trainer.utils import RepeatSampler

TRAINED, REFERENCE = "default", "ref"
"""TRL's names of the two adapters."""
ROLLOUT_SPEED = "cost/rollout_tokens_per_s"
"""Sampled tokens a second of all processes together."""
APART = 1_000_003
"""Between the seeds of two epochs: those of neighbouring seeds do not meet."""


class EpochSampler(RepeatSampler):
    """A RepeatSampler that is seeded anew in each epoch; the first one's order is TRL's."""

    def __init__(self, *arguments: Any, epoch: Callable[[], int], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed + APART * self._epoch())
        order: Iterator[int] = super().__iter__()
        return order


class EpochLengthSampler(LengthGroupedSampler):
    """A LengthGroupedSampler that is seeded anew in each epoch."""

    def __init__(self, *arguments: Any, seed: int, epoch: Callable[[], int], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._seed = seed
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self._seed + APART * self._epoch())
        order: Iterator[int] = super().__iter__()
        return order


class OrderedSFTTrainer(SFTTrainer):
    """An SFTTrainer that can go on at any step, its order the same for any number of processes."""

    sampler: type[EpochLengthSampler] = EpochLengthSampler

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochLengthSampler:
        made = super()._get_train_sampler(train_dataset)
        return self.sampler(
            made.batch_size * self.args.world_size,  # the rows of a step, which are of one length
            lengths=made.lengths,
            seed=self.args.data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )


class OrderedGRPOTrainer(GRPOTrainer):
    """A GRPOTrainer that can go on at any step, and says how fast its rollouts are."""

    def _generate_single_turn(self, *arguments: Any, **named: Any) -> tuple[list[list[int]], Any]:
        begun = time.monotonic()
        sampled, logps = super()._generate_single_turn(*arguments, **named)
        own = sum(map(len, sampled)) / (time.monotonic() - begun)
        self._metrics["train"][ROLLOUT_SPEED].append(sum(gather_object([own])))
        return sampled, logps

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the trained adapter too.

        TRL keeps the adapter that a run begins with beside it, as `ref`. A checkpoint has `ref` in
        a folder of its own and the trained one beside that; transformers, once it sees such a
        folder, reads nothing else, and the run would begin from the first weights again.
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        network = self.accelerator.unwrap_model(self.model if model is None else model)
        if REFERENCE in getattr(network, "peft_config", {}):
            network.load_adapter(resume_from_checkpoint, TRAINED, is_trainable=True)
            network.set_adapter(TRAINED)

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
