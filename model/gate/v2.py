"""The gate for vLLM's Model Runner V2, the default on CUDA.

All state is on the device: committed tokens are read where the runner keeps them, so no step
waits for a copy. The host knows an upper bound of each length, which is enough to see that no
row can be within a tag.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from vllm.v1.worker.gpu.sample.logits_processor import (
    LogitsContext,
    LogitsProcessor,
    LogitsProcRequestState,
)

from model.decision import Dial
from model.gate.rule import GENERAL, PERSONALIZED, TagRule

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams


class GateV2(LogitsProcessor):
    """Steers rows by their slot: one bound per slot, not a number where the slot is not gated."""

    def __init__(
        self, rule: TagRule, req_states: LogitsProcRequestState, drafts_per_step: int = 0
    ) -> None:
        self._rule = rule
        # A step adds at least one token and the host's bound at most 1 + drafts: when the bound
        # has come this far, the reply is past its tag for certain.
        self._reach = rule.ids.longest * (1 + drafts_per_step)
        self._states = req_states
        slots = req_states.max_num_reqs
        self._is_gated = np.zeros(slots, dtype=bool)
        self._staged = torch.full((slots,), torch.nan, dtype=torch.float64)
        self._bounds = self._staged.to(req_states.device)
        self._is_stale = False

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        dial = Dial.from_arguments(sampling_params.extra_args)
        draw = random.Random(sampling_params.seed).random()
        bound = torch.nan if dial is None else dial.bound(self._rule.calibration, draw)
        self._staged[req_idx] = bound
        self._is_gated[req_idx] = dial is not None
        self._is_stale = True
        return dial is not None

    def apply_staged_writes(self) -> None:
        if self._is_stale:
            # A fresh tensor: the copy is asynchronous, and a step in flight may read the old one.
            self._bounds = self._staged.clone().to(self._states.device, non_blocking=True)
            self._is_stale = False

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        slots = ctx.idx_mapping_np
        steps = ctx.seq_lens_upper_bound_np - self._states.prompt_len.np[slots]
        if not np.any(self._is_gated[slots] & (steps < self._reach)):
            return logits
        self._steer(logits, ctx)
        return logits

    def _steer(self, logits: torch.Tensor, ctx: LogitsContext) -> None:
        slots = ctx.expanded_idx_mapping.long()
        prompt_lens = self._states.prompt_len.gpu[slots].long()
        steps = ctx.pos.long() + 1 - prompt_lens
        bounds = self._bounds[slots]
        # Rows that are not gated get a step behind every tag, which the rule leaves alone.
        steps = torch.where(torch.isnan(bounds), self._rule.ids.longest, steps)
        rows = torch.arange(logits.shape[0], device=logits.device)
        places = prompt_lens[:, None] + torch.arange(self._rule.ids.longest, device=logits.device)
        tokens = self._tokens(rows, slots, places, ctx)
        # A reply that opened otherwise (no gate was at its start, or it gave way) is left alone.
        is_opening = self._rule.is_opening(tokens, steps)
        steps = torch.where(is_opening, steps, self._rule.ids.longest)
        is_personalized = tokens[:, self._rule.ids.parting] == self._rule.ids.rivals()[1]
        taken = torch.where(is_personalized, PERSONALIZED, GENERAL)
        self._rule.steer(logits, rows, steps, taken, bounds)

    def _tokens(
        self, rows: torch.Tensor, slots: torch.Tensor, places: torch.Tensor, ctx: LogitsContext
    ) -> torch.Tensor:
        """`[R, L]` the tokens at `places` of each row's sequence: committed, or drafts.

        A draft token is not committed; it is the input of a row of the same request further up.
        """
        last = int(self._states.all_token_ids.gpu.shape[1]) - 1
        committed = self._states.all_token_ids.gpu[slots[:, None], places.clamp(max=last)].long()
        above = rows[:, None] - (ctx.pos.long()[:, None] - places)
        above = torch.minimum(above.clamp(min=0), rows[:, None])
        is_committed = places < self._states.total_len.gpu[slots].long()[:, None]
        return torch.where(is_committed, committed, ctx.input_ids.long()[above])
