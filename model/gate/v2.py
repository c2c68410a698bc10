"""The gate for vLLM's Model Runner V2, the default on CUDA.

All state is on the device: committed tokens are read where the runner keeps them, so no step
waits for a copy. The host knows an upper bound of each length, which is enough to see that no
row can be within a tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from vllm.v1.worker.gpu.sample.logits_processor import (
    LogitsContext,
    LogitsProcessor,
    LogitsProcRequestState,
)

from model.decision import Dial
from model.gate.marker import BEGIN, REACH, WHOLE, MarkerRule
from model.gate.rule import GENERAL, PERSONALIZED, TagRule

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams


class GateV2(LogitsProcessor):
    """Steers rows by their slot: one bound per slot, not a number where the slot is not gated.

    Where a grammar waits (`marker` is None for a checkpoint that does not reason) the device also
    keeps whether it has begun; the host cannot know, so such a slot costs a look at its last few
    tokens as long as it is in the batch.
    """

    def __init__(
        self,
        rule: TagRule,
        req_states: LogitsProcRequestState,
        drafts_per_step: int = 0,
        marker: MarkerRule | None = None,
    ) -> None:
        self._rule = rule
        self._marker = marker
        # A step adds at least one token and the host's bound at most 1 + drafts: when the bound
        # has come this far, the reply is past its tag for certain.
        self._reach = rule.ids.longest * (1 + drafts_per_step)
        self._states = req_states
        slots = req_states.max_num_reqs
        self._is_gated = np.zeros(slots, dtype=bool)
        self._staged = torch.full((slots,), torch.nan, dtype=torch.float64)
        self._bounds = self._staged.to(req_states.device)
        self._is_stale = False
        # A step commits at most 1 + drafts tokens, and each may be the marker's last.
        self._window = REACH + drafts_per_step
        self._waits = np.zeros(slots, dtype=bool)
        self._fresh: list[int] = []
        self._begun = torch.ones(slots, dtype=torch.int32, device=req_states.device)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        dial = Dial.from_arguments(sampling_params.extra_args)
        draw = self._rule.draw(sampling_params.seed)
        bound = torch.nan if dial is None else dial.bound(self._rule.calibration, draw)
        self._staged[req_idx] = bound
        self._is_gated[req_idx] = dial is not None
        self._is_stale = True
        has_grammar = self._marker is not None and sampling_params.structured_outputs is not None
        waits = has_grammar and dial is not None
        if waits or self._waits[req_idx]:
            self._fresh.append(req_idx)
        self._waits[req_idx] = waits
        return dial is not None

    def apply_staged_writes(self) -> None:
        if self._is_stale:
            # A fresh tensor: the copy is asynchronous, and a step in flight may read the old one.
            self._bounds = self._staged.clone().to(self._states.device, non_blocking=True)
            self._is_stale = False
        for slot in self._fresh:
            self._begun[slot] = int(self._has_begun(slot))
        self._fresh.clear()

    def apply(self, logits: torch.Tensor, ctx: LogitsContext) -> torch.Tensor:
        slots = ctx.idx_mapping_np
        steps = ctx.seq_lens_upper_bound_np - self._states.prompt_len.np[slots]
        if np.any(self._is_gated[slots] & (steps < self._reach)):
            self._steer(logits, ctx)
        if self._marker is not None and np.any(self._waits[slots]):
            self._bind(logits, ctx, self._marker)
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

    def _bind(self, logits: torch.Tensor, ctx: LogitsContext, marker: MarkerRule) -> None:
        slots = ctx.expanded_idx_mapping.long()
        rows = torch.arange(logits.shape[0], device=logits.device)
        last = torch.arange(-self._window + 1, 1, device=logits.device)
        places = ctx.pos.long()[:, None] + last
        is_output = places >= self._states.prompt_len.gpu[slots].long()[:, None]
        tokens = torch.where(is_output, self._tokens(rows, slots, places, ctx), -1)
        begun_to, is_whole = marker.read(tokens)
        # What is committed stays true; behind a draft it holds for this step's rows alone.
        is_committed = places < self._states.total_len.gpu[slots].long()[:, None]
        self._begun.index_add_(0, slots, (is_whole & is_committed).any(1).int())
        has_begun = (self._begun[slots] > 0) | is_whole.any(1)
        marker.bind(logits, rows, torch.where(has_begun, WHOLE, begun_to))

    def _has_begun(self, slot: int) -> bool:
        """Whether no grammar waits in this slot, which is new or serves another request.

        The one copy to the host: after a preemption, of a reply in which a grammar waited.
        """
        if self._marker is None or not self._waits[slot]:
            return True
        begin, end = self._states.prompt_len.np[slot], self._states.prefill_len.np[slot]
        if end == begin:
            return False
        written = self._states.all_token_ids.gpu[slot, begin:end].tolist()
        return self._marker.follow(BEGIN, written) == WHOLE

    def _tokens(
        self, rows: torch.Tensor, slots: torch.Tensor, places: torch.Tensor, ctx: LogitsContext
    ) -> torch.Tensor:
        """`[R, L]` the tokens at `places` of each row's sequence: committed, or drafts.

        A draft token is not committed; it is the input of a row of the same request further up.
        """
        last = int(self._states.all_token_ids.gpu.shape[1]) - 1
        committed = self._states.all_token_ids.gpu[slots[:, None], places.clamp(0, last)].long()
        above = rows[:, None] - (ctx.pos.long()[:, None] - places)
        above = torch.minimum(above.clamp(min=0), rows[:, None])
        is_committed = places < self._states.total_len.gpu[slots].long()[:, None]
        return torch.where(is_committed, committed, ctx.input_ids.long()[above])
