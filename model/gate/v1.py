"""The gate for vLLM's V1 model runner (CPU, and CUDA where the second runner lacks a feature)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.sample.logits_processor.interface import BatchUpdate, LogitsProcessor

from model.decision import Dial
from model.gate.marker import BEGIN, WHOLE, MarkerRule
from model.gate.rule import ABANDONED, GENERAL, UNDECIDED, TagRule

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams


@dataclass(slots=True)
class _Row:
    """One gated reply. `output_ids` is vLLM's own running list, not a copy.

    `place`: how much of the answer's marker the first `read` tokens end with; `WHOLE` where no
    grammar waits for it.
    """

    bound: float
    output_ids: list[int]
    place: int
    read: int = 0
    taken: int = UNDECIDED


class GateV1(LogitsProcessor):
    """Keeps the replies that are still within their tag, and forgets each one after it; one with a
    grammar only where that has begun (`marker` is None for a checkpoint that does not reason).

    The length of a reply's output list says where it stands, also under async scheduling, where
    its last entries may be placeholders (-1), and during chunked prefill, where the sampled token
    is thrown away and the list does not grow. What a reply took we remember ourselves; the list's
    entries are read only for a reply that comes back after a preemption, and where a grammar waits
    (vLLM fills them in for a processor that its command line names, as ours is).
    """

    def __init__(self, rule: TagRule, marker: MarkerRule | None = None) -> None:
        self._rule = rule
        self._marker = marker
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, self._admit)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._rows:
            return logits
        steps: dict[int, int] = {}
        for index, row in list(self._rows.items()):
            step = len(row.output_ids)
            if row.taken == UNDECIDED and step > self._rule.ids.parting:
                row.taken = self._rule.read(row.output_ids)  # it came back from a preemption
            if self._marker is not None and row.place != WHOLE:
                row.place = self._marker.follow(row.place, row.output_ids[row.read :])
                row.read = step
            if not self._is_over(row, step):
                steps[index] = step
            elif row.place == WHOLE:
                del self._rows[index]
        if steps:
            self._steer(logits, steps)
        if self._marker is not None and self._rows:
            self._bind(logits, self._marker)
        return logits

    def _admit(
        self, params: SamplingParams, _prompt_ids: list[int] | None, output_ids: list[int]
    ) -> _Row | None:
        dial = Dial.from_arguments(params.extra_args)
        if dial is None:
            return None
        waits = self._marker is not None and params.structured_outputs is not None
        bound = dial.bound(self._rule.calibration, self._rule.draw(params.seed))
        return _Row(bound, output_ids, BEGIN if waits else WHOLE)

    def _is_over(self, row: _Row, step: int) -> bool:
        if row.taken < GENERAL:
            return row.taken == ABANDONED
        lengths = (len(self._rule.ids.general), len(self._rule.ids.personalized))
        return step >= lengths[row.taken]

    def _steer(self, logits: torch.Tensor, steps: dict[int, int]) -> None:
        rows, device = [self._rows[index] for index in steps], logits.device
        taken = self._rule.steer(
            logits,
            torch.tensor(list(steps), device=device),
            torch.tensor(list(steps.values()), device=device),
            torch.tensor([row.taken for row in rows], device=device),
            torch.tensor([row.bound for row in rows], device=device, dtype=torch.float64),
        )
        # A copy to the host per step within a tag: this runner waits for each step anyway.
        for row, code in zip(rows, taken.tolist(), strict=True):
            row.taken = code

    def _bind(self, logits: torch.Tensor, marker: MarkerRule) -> None:
        bound = {i: row.place for i, row in self._rows.items() if marker.binds(row.place)}
        if bound:
            device = logits.device
            rows = torch.tensor(list(bound), device=device)
            marker.bind(logits, rows, torch.tensor(list(bound.values()), device=device))
