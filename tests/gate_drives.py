"""The two adapters of the gate behind one handle, and the table of cases that both must meet.

A tiny vocabulary stands for a checkpoint: tags `0 1 2` and `0 3 4 2`, which part at index 1, or
the single added tokens 5 and 6, which part at index 0. The answer's marker is `7 8`, or fused with
a quotation mark `7 10`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.sample.logits_processor.interface import BatchUpdate
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState

from model.decision import Calibration
from model.gate.marker import MarkerRule
from model.gate.rule import TagRule
from model.gate.v1 import GateV1
from model.gate.v2 import GateV2
from model.mode import TagIds

CPU = torch.device("cpu")
VOCAB, FREE = 12, 9
"""Vocabulary size, and the token that the model wants most when nobody steers."""
HALF, END, FUSED = 7, 8, 10
PIECES = {f"t{i}": i for i in range(VOCAB)} | {"<answer": HALF, ">": END, '>"': FUSED}
SPLIT = TagIds((0, 1, 2), (0, 3, 4, 2))
SINGLE = TagIds((5,), (6,))
MAX_LEN = 64


@dataclass
class Request:
    """A request as the engine sees it; `lead` is the model's log-odds of personalised mode, and
    `wishes` the tokens that it wants at some indexes of the output, best first."""

    arguments: dict[str, Any] | None
    lead: float = 0.0
    seed: int | None = None
    prompt_len: int = 5
    output: list[int] = field(default_factory=list)
    has_grammar: bool = False
    wishes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def params(self) -> SamplingParams:
        grammar = StructuredOutputsParams(choice=["red"]) if self.has_grammar else None
        return SamplingParams(extra_args=self.arguments, seed=self.seed, structured_outputs=grammar)


GENERAL_OPENING = {SPLIT: [0, 1, 2], SINGLE: [5]}
PERSONALIZED_OPENING = {SPLIT: [0, 3, 4, 2], SINGLE: [6]}
AUTO = {"personadual_mode": "auto"}

# name: arguments, lead, whether personalised is expected; None: nothing is steered
CASES: dict[str, tuple[dict[str, Any] | None, float, bool | None]] = {
    "auto, model leans general": (AUTO, -0.1, False),
    "auto, model leans personalised": (AUTO, 0.1, True),
    "auto, at the threshold": (AUTO, 0.0, True),
    "forced general": ({"personadual_mode": "general"}, 50.0, False),
    "forced personalised": ({"personadual_mode": "personalized"}, -50.0, True),
    "threshold 0": ({"personadual_threshold": 0}, -80.0, True),
    "threshold 1": ({"personadual_threshold": 1}, 80.0, False),
    "threshold .5": ({"personadual_threshold": 0.5}, 0.1, True),
    "threshold .9, not sure enough": ({"personadual_threshold": 0.9}, 2.0, False),
    "threshold .9, sure enough": ({"personadual_threshold": 0.9}, 2.3, True),
    "drawn, certain": ({"personadual_decision": "sample"}, 60.0, True),
    "drawn, impossible": ({"personadual_decision": "sample"}, -60.0, False),
    "general, both rivals forbidden": (AUTO, math.nan, None),
    "not gated": (None, 5.0, None),
    "not gated, other arguments": ({"another": 1}, 5.0, None),
}


def logits_of(requests: list[Request], ids: TagIds, forbidden: int | None = None) -> torch.Tensor:
    """What the model says: it would rather answer (`FREE`) than open any tag."""
    logits = torch.zeros(len(requests), VOCAB)
    general, personalized = ids.rivals()
    for row, request in enumerate(requests):
        logits[row, FREE] = 999.0
        for rank, token in enumerate(request.wishes.get(len(request.output), ())):
            logits[row, token] = 1009.0 - rank
        if math.isnan(request.lead):
            logits[row, [general, personalized]] = -math.inf
        else:
            logits[row, general], logits[row, personalized] = -3.0, -3.0 + request.lead
    if forbidden is not None:
        logits[:, forbidden] = -math.inf
    return logits


class DriveV1:
    """Drives the V1 adapter as the input batch does: list references, updates, moves."""

    forbidden: int | None = None

    def __init__(self, ids: TagIds, calibration: Calibration, *, reasons: bool = True) -> None:
        self.gate = GateV1(TagRule(ids, calibration, CPU), marker_of(reasons))
        self.ids = ids
        self.batch: list[Request] = []

    def add(self, requests: list[Request]) -> None:
        begin = len(self.batch)
        self.batch += requests
        added = [(begin + i, r.params, None, r.output) for i, r in enumerate(requests)]
        self.gate.update_state(BatchUpdate(len(self.batch), [], added, []))

    def step(self, *, keep: bool = True, placeholders: bool = False) -> torch.Tensor:
        logits = self.gate.apply(logits_of(self.batch, self.ids, self.forbidden))
        if keep:
            for request, token in zip(self.batch, logits.argmax(-1).tolist(), strict=True):
                request.output.append(-1 if placeholders else token)
        return logits


class DriveV2:
    """Drives the V2 adapter with the runner's own context and shuffled slots."""

    forbidden: int | None = None

    def __init__(self, ids: TagIds, calibration: Calibration, *, reasons: bool = True) -> None:
        self.ids = ids
        size = 16
        self.states = LogitsProcRequestState(
            device=CPU,
            max_num_reqs=size,
            vocab_size=VOCAB,
            # The runner's buffers need a GPU to be made; these have the same two faces.
            all_token_ids=SimpleNamespace(gpu=torch.zeros(size, MAX_LEN, dtype=torch.int32)),
            prompt_len=_buffer(size),
            prefill_len=_buffer(size),
            total_len=_buffer(size),
        )
        rule = TagRule(ids, calibration, CPU)
        self.gate = GateV2(rule, self.states, marker=marker_of(reasons))
        self.batch: list[Request] = []
        self.slots: list[int] = []

    def add(self, requests: list[Request]) -> None:
        for request in requests:
            slot = (7 * len(self.slots) + 3) % 16
            self.slots.append(slot)
            self.batch.append(request)
            self.states.prompt_len.np[slot] = request.prompt_len
            self.commit(request, slot)
            self.states.prefill_len.np[slot] = request.prompt_len + len(request.output)
            gated = self.gate.add_request(slot, request.params)
            assert gated == any(k.startswith("personadual") for k in request.arguments or {})
        self.gate.apply_staged_writes()

    def commit(self, request: Request, slot: int) -> None:
        begin = request.prompt_len
        end = begin + len(request.output)
        self.states.all_token_ids.gpu[slot, begin:end] = torch.tensor(
            request.output, dtype=torch.int32
        )
        self.states.total_len.np[slot] = end

    def step(self, *, keep: bool = True, placeholders: bool = False) -> torch.Tensor:
        lengths = [r.prompt_len + len(r.output) for r in self.batch]
        if not keep:  # a chunk of a prompt: the row stands before the prompt's end
            lengths = [length - 2 for length in lengths]
        slots = torch.tensor(self.slots)
        context = LogitsContext(
            expanded_idx_mapping=slots,
            idx_mapping=slots,
            idx_mapping_np=np.array(self.slots),
            expanded_local_pos=torch.zeros(len(self.slots)),
            input_ids=torch.zeros(len(self.slots), dtype=torch.int32),
            pos=torch.tensor(lengths) - 1,
            seq_lens_upper_bound_np=np.array(lengths),
        )
        logits = self.gate.apply(logits_of(self.batch, self.ids, self.forbidden), context)
        if keep:
            for request, slot, token in zip(
                self.batch, self.slots, logits.argmax(-1).tolist(), strict=True
            ):
                request.output.append(token)
                self.commit(request, slot)
        return logits


def marker_of(reasons: bool) -> MarkerRule | None:
    return MarkerRule(PIECES, CPU) if reasons else None


def _buffer(size: int) -> Any:
    array = np.zeros(size, dtype=np.int32)
    return SimpleNamespace(np=array, gpu=torch.from_numpy(array))


Drive = Callable[..., Any]
drives = pytest.mark.parametrize("drive", [DriveV1, DriveV2])
taggings = pytest.mark.parametrize("ids", [SPLIT, SINGLE], ids=["split", "single"])


def expected(name: str, ids: TagIds) -> list[int]:
    is_personalized = CASES[name][2]
    if is_personalized is None:
        # Without rivals, the shared opening is steered and then the row is left alone.
        shared = list(ids.general[: ids.parting]) if math.isnan(CASES[name][1]) else []
        return [*shared, FREE, FREE]
    return [*(PERSONALIZED_OPENING if is_personalized else GENERAL_OPENING)[ids], FREE, FREE]
