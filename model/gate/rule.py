"""The gate's rule on tensors: which token may come next while a reply opens with its tag.

Pure: torch and our own words, nothing of vLLM. Both adapters call `TagRule.steer` with the rows
that are still within a tag; how they know those rows is their own business.
"""

from __future__ import annotations

import random

import torch

from model.decision import Calibration
from model.mode import TagIds

ABANDONED, UNDECIDED, GENERAL, PERSONALIZED = -2, -1, 0, 1
"""What a row has taken so far; `GENERAL` and `PERSONALIZED` also index the tag table. A row is
abandoned for good once its next token was forbidden: half a tag is worse than none."""


class TagRule:
    """Both tags as a table `[2, L]`, and the rule that walks it.

    Args:
        ids: both tags in the vocabulary of the engine's tokenizer.
        calibration: of the checkpoint's card.
        device: where the logits live.
        seed: the engine's. Each rank of tensor parallelism takes every decision for itself, so all
            of them must draw the same numbers.
    """

    def __init__(
        self, ids: TagIds, calibration: Calibration, device: torch.device, seed: int = 0
    ) -> None:
        self.ids = ids
        self.calibration = calibration
        self._draws = random.Random(seed)
        lengths = [len(ids.general), len(ids.personalized)]
        table = torch.full((2, max(lengths)), -1, dtype=torch.int64)
        table[GENERAL, : lengths[0]] = torch.tensor(ids.general)
        table[PERSONALIZED, : lengths[1]] = torch.tensor(ids.personalized)
        self._table = table.to(device)
        self._lengths = torch.tensor(lengths, device=device)

    def draw(self, seed: int | None) -> float:
        """One uniform number for a reply; a request's own seed repeats its decision."""
        return (self._draws if seed is None else random.Random(seed)).random()

    def is_opening(self, tokens: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Whether each reply has so far written the beginning of a tag.

        Args:
            tokens: `[R, L]` its first tokens, `L` the longer tag's length; garbage from `steps` on.
            steps: `[R]` how many of them are written.
        """
        is_written = torch.arange(tokens.shape[1], device=tokens.device) < steps[:, None]
        is_same = tokens[:, None, :] == self._table[None]
        return (is_same | ~is_written[:, None, :]).all(-1).any(-1)

    def steer(
        self,
        logits: torch.Tensor,
        rows: torch.Tensor,
        steps: torch.Tensor,
        taken: torch.Tensor,
        bounds: torch.Tensor,
    ) -> torch.Tensor:
        """Allow one token alone in each row that is within a tag, and decide where tags part.

        Rows whose tag is complete, and rows in which the only right token is forbidden already
        (a grammar came first), stay as they are: the gate never revives a token.

        Args:
            logits: `[N, V]`, changed in place.
            rows: `[R]` rows of `logits` that are gated.
            steps: `[R]` index of the token that this step samples, counted from the reply's start.
            taken: `[R]` what each row took at the parting index; read behind that index alone.
            bounds: `[R]` the score at or above which a row is personalised (`Dial.bound`).

        Returns:
            `[R]` what each row has taken after this step; `ABANDONED` where it was left alone.
        """
        general_id, personalized_id = self.ids.rivals()
        # log_softmax subtracts the same number from both, so raw logits give the same difference.
        lead = logits[rows, personalized_id].double() - logits[rows, general_id].double()
        # Calibration.score, on tensors; test_gate.py::test_the_score_is_that_of_the_calibration.
        score = lead * self.calibration.slope + self.calibration.intercept
        # Not a number (both ids forbidden) compares false and falls to general.
        is_personalized = (score >= bounds) & ~torch.isposinf(bounds) | torch.isneginf(bounds)
        chosen = torch.where(is_personalized, PERSONALIZED, GENERAL)
        decided = torch.where(steps == self.ids.parting, chosen, taken)
        taken = torch.where(steps < self.ids.parting, UNDECIDED, decided)

        tag = taken.clamp(min=GENERAL)
        is_within = (steps >= 0) & (steps < self._lengths[tag])
        allowed = self._table[tag, steps.clamp(0, self._table.shape[1] - 1)].clamp(min=0)
        kept = logits[rows, allowed]
        is_forbidden = torch.isneginf(kept)
        is_steered = is_within & ~is_forbidden
        mask = logits.new_zeros((len(rows), logits.shape[1]))
        mask.masked_fill_(is_steered[:, None], float("-inf")).scatter_(1, allowed[:, None], 0.0)
        logits[rows] += mask
        return torch.where(is_within & is_forbidden, ABANDONED, taken)

    def read(self, output_ids: list[int]) -> int:
        """What a reply with these output ids has taken; `ABANDONED` where it opened otherwise."""
        for code, tag in ((GENERAL, self.ids.general), (PERSONALIZED, self.ids.personalized)):
            if tuple(output_ids[: len(tag)]) == tag[: len(output_ids)]:
                return code if len(output_ids) > self.ids.parting else UNDECIDED
        return ABANDONED
