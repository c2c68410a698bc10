"""Invariance: what general mode says must not hang on who asks.

A pair is a row twice, under two personas, the reply the same to the letter. Cross entropy alone
makes that reply likely under both; where a model only guesses, each persona still moves the guess.
The divergence between the two next-token distributions asks for the same guess (as R-Drop asks for
it between two dropout masks, Liang et al. 2021, equation 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from training.config import ConfigInvalid
from training.ordered_trainer import EpochLengthSampler, OrderedSFTTrainer

IGNORED = -100
"""The label of what is not trained: the prompt, and padding."""


def same_reply(labels: Tensor) -> list[int]:
    """The first rows of the pairs in a batch that holds rows in twos; `labels` are `(B, T)`.

    Neighbours that only happen to say the same count as one: they answer the same question.
    """
    replies = [row[row != IGNORED].tolist() for row in labels]
    return [at for at in range(0, len(replies) - 1, 2) if replies[at] == replies[at + 1]]


def divergence(logps: Tensor, others: Tensor) -> Tensor:
    """The mean of both Kullback-Leibler divergences, in nats, `(N,)`, of two `(N, V)`."""
    return ((logps.exp() - others.exp()) * (logps - others)).sum(-1) / 2


class PairSampler(EpochLengthSampler):
    """An EpochLengthSampler of rows in twos (an even number): what stands side by side is drawn
    together."""

    def __init__(self, batch_size: int, *, lengths: Sequence[int], **named: Any) -> None:
        twos = [*map(max, lengths[::2], lengths[1::2])]
        super().__init__(max(1, batch_size // 2), lengths=twos, **named)

    def __len__(self) -> int:
        return 2 * len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return (row for two in super().__iter__() for row in (2 * two, 2 * two + 1))


class InvariantSFTTrainer(OrderedSFTTrainer):
    """SFT with `weight` times the divergence of each pair's tokens added to the cross entropy.

    Its rows stand in twos (`training.rows.side_by_side`). The whole next-token distribution is
    needed, which TRL's fused head does not give: loss and figures are written out here, for dense
    models.

    Raises:
        ConfigInvalid: the model is a mixture of experts.
    """

    sampler = PairSampler

    def __init__(self, *, weight: float, **options: Any) -> None:
        super().__init__(**options)
        if self.aux_loss_enabled:
            raise ConfigInvalid("invariance: it is not there for mixtures of experts")
        self._weight = weight

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        assert not return_outputs, "no evaluation runs within SFT"
        labels = inputs["labels"][:, 1:]
        trained = labels != IGNORED
        # Of a long prompt only the last position is projected onto the vocabulary.
        width = labels.size(1) - int(trained.any(0).int().argmax())
        labels, trained = labels[:, -width:], trained[:, -width:]
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=width + 1,
        ).logits[:, :-1]
        logps = logits[trained].float().log_softmax(-1)
        own = logps.gather(-1, labels[trained][:, None])
        by_row = logps.split(trained.sum(1).tolist())
        apart = [divergence(by_row[at], by_row[at + 1]) for at in same_reply(labels)]
        paired = torch.cat(apart) if apart else logps.new_zeros(0)
        # A pair's divergence is that of either row's tokens, and counts in both.
        loss: Tensor = 2 * self._weight * paired.sum() - own.sum()
        loss = loss / (num_items_in_batch or len(own))
        if num_items_in_batch is not None:
            # It counts the tokens of all processes, over which DDP takes the mean.
            loss = loss * self.accelerator.num_processes
        is_right = logps.argmax(-1) == labels[trained]
        self._log(is_right.sum(), len(own), paired, inputs["attention_mask"].sum())
        return loss

    def _log(self, right: Tensor, tokens: int, paired: Tensor, read: Tensor) -> None:
        own = torch.stack([right, paired.sum().detach(), read])
        own = torch.cat([own, own.new_tensor([tokens, len(paired)])])
        hits, nats, seen, trained, count = self.accelerator.gather(own[None]).sum(0).tolist()
        metrics = self._metrics["train"]
        metrics["mean_token_accuracy"].append(hits / max(trained, 1))
        if count:
            metrics["invariance"].append(nats / count)
        self._total_train_tokens += int(seen)
        metrics["num_tokens"] = [self._total_train_tokens]
