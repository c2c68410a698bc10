"""The gate's rule for a grammar that waits, in both adapters against one table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from vllm.v1.sample.logits_processor.interface import BatchUpdate, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

from model.decision import Calibration
from model.gate.marker import MarkerRule
from model.gate.rule import TagRule
from model.gate.v2 import GateV2
from tests.gate_drives import (
    AUTO,
    CPU,
    END,
    FREE,
    FUSED,
    GENERAL_OPENING,
    HALF,
    PERSONALIZED_OPENING,
    PIECES,
    SPLIT,
    VOCAB,
    Drive,
    DriveV1,
    DriveV2,
    Request,
    drives,
    logits_of,
)

GENERAL, PERSONALIZED = {"personadual_mode": "general"}, {"personadual_mode": "personalized"}
PAST = GENERAL_OPENING[SPLIT]


WRITES_FUSED = [(HALF,), (FUSED, END), (HALF,), (FUSED, END)]
# name: (gate arguments, is there a grammar), wishes behind the tag, what comes
CASES: dict[str, tuple[dict[str, Any] | None, bool, list[tuple[int, ...]], list[int]]] = {
    "it waits, general": (GENERAL, True, WRITES_FUSED, [HALF, END, HALF, FUSED]),
    "it waits, personalised": (PERSONALIZED, True, WRITES_FUSED, [HALF, END, HALF, FUSED]),
    "it waits, auto": (AUTO, True, WRITES_FUSED, [HALF, END, HALF, FUSED]),
    "plain as it is": (GENERAL, True, [(HALF,), (END,), (FUSED,)], [HALF, END, FUSED]),
    "not behind half a marker": (GENERAL, True, [(FUSED,), (HALF,), ()], [FUSED, HALF, FREE]),
    "other text between": (GENERAL, True, [(HALF,), (), (FUSED,)], [HALF, FREE, FUSED]),
    "the half twice": (GENERAL, True, [(HALF,), (HALF,), (FUSED, END)], [HALF, HALF, END]),
    "no grammar": (GENERAL, False, WRITES_FUSED, [HALF, FUSED, HALF, FUSED]),
    "not gated": (None, True, WRITES_FUSED, [HALF, FUSED, HALF, FUSED]),
}


def request_for(name: str, output: list[int] | None = None) -> tuple[Request, list[int]]:
    """The request of a case, and all that it is to write."""
    arguments, has_grammar, wishes, comes = CASES[name]
    opening: list[int] = []
    if arguments is not None:
        is_general = arguments == GENERAL
        opening = (GENERAL_OPENING if is_general else PERSONALIZED_OPENING)[SPLIT]
    made = Request(
        arguments,
        lead=1.0,
        output=output or [],
        has_grammar=has_grammar,
        wishes={len(opening) + at: wish for at, wish in enumerate(wishes)},
    )
    return made, [*opening, *comes, FREE]


@drives
@pytest.mark.parametrize("name", CASES)
def test_each_case_alone(name: str, drive: Drive) -> None:
    request, want = request_for(name)
    driver = drive(SPLIT, Calibration())
    driver.add([request])
    for _ in want:
        driver.step()
    assert request.output == want


@drives
def test_all_cases_in_one_batch_that_grows(drive: Drive) -> None:
    """Rows at different places, with and without a grammar, do not disturb each other."""
    made = {name: request_for(name) for name in CASES}
    driver = drive(SPLIT, Calibration())
    for request, _ in made.values():
        driver.add([request])
        driver.step()
    for _ in range(9):
        driver.step()
    for name, (request, want) in made.items():
        assert request.output[: len(want)] == want, name


@drives
@pytest.mark.parametrize("name", ["it waits, personalised", "no grammar"])
@pytest.mark.parametrize("done", range(9))
def test_a_reply_that_comes_back_goes_on(drive: Drive, done: int, name: str) -> None:
    """After preemption the request is added anew with its real output, at any place of it."""
    _, want = request_for(name)
    request, _ = request_for(name, want[:done])
    driver = drive(SPLIT, Calibration())
    driver.add([request])
    for _ in want[done:]:
        driver.step()
    assert request.output == want


@drives
def test_a_marker_far_back_is_not_forgotten(drive: Drive) -> None:
    """In this life of the request or before its preemption: no grammar waits."""
    lives = [Request(GENERAL, has_grammar=True, output=[*PAST, HALF, END, *[FREE] * 20])]
    lives.append(Request(GENERAL, has_grammar=True, wishes={3: (HALF,), 4: (END,)}))
    driver = drive(SPLIT, Calibration())
    driver.add(lives)
    for _ in range(25):
        driver.step()
    for request in lives:
        at = len(request.output)
        request.wishes |= {at: (HALF,), at + 1: (FUSED, END)}
    driver.step()
    driver.step()
    assert [request.output[-2:] for request in lives] == [[HALF, FUSED], [HALF, FUSED]]


@drives
def test_rows_without_a_waiting_grammar_are_untouched(drive: Drive) -> None:
    """Bit for bit, beside one whose fused token is forbidden, and nothing else in that one."""
    wishes = {4: (FUSED, END)}
    behind = [*PAST, HALF]
    requests = [
        Request(GENERAL, has_grammar=True, output=list(behind), wishes=wishes),
        Request(GENERAL, output=list(behind), wishes=wishes),
        Request(None, has_grammar=True, output=list(behind), wishes=wishes),
        Request(GENERAL, has_grammar=True, output=[*PAST, HALF, END, HALF], wishes=wishes),
    ]
    driver = drive(SPLIT, Calibration())
    driver.add(requests)
    before = logits_of(requests, SPLIT)
    logits = driver.step()
    assert torch.equal(logits[1:], before[1:])
    assert (logits[0] != before[0]).nonzero().flatten().tolist() == [FUSED]


@drives
def test_where_the_plain_end_is_forbidden_the_fused_one_stays(drive: Drive) -> None:
    """By allowed tokens or bad words: a row must not be left with nothing."""
    request = Request(GENERAL, has_grammar=True, output=[*PAST, HALF], wishes={4: (END, FUSED)})
    driver = drive(SPLIT, Calibration())
    driver.add([request])
    driver.forbidden = END
    driver.step()
    assert request.output[-1] == FUSED


@drives
def test_a_checkpoint_that_does_not_reason_has_no_such_rule(drive: Drive) -> None:
    """Its grammar begins behind the tag, whose tokens are the gate's own."""
    request, _ = request_for("it waits, general")
    driver = drive(SPLIT, Calibration(), reasons=False)
    driver.add([request])
    for _ in range(5):
        driver.step()
    assert request.output == [*PAST, HALF, FUSED]


def test_v1_follows_rows_that_move() -> None:
    """What a row has read of its marker goes with it."""
    first, second = request_for("no grammar")[0], request_for("it waits, general")[0]
    driver = DriveV1(SPLIT, Calibration())
    driver.add([first, second])
    for _ in range(4):
        driver.step()
    driver.batch = [second]
    one_way = MoveDirectionality.UNIDIRECTIONAL
    driver.gate.update_state(BatchUpdate(1, [0], [], [(1, 0, one_way)]))
    driver.step()
    assert second.output == [*PAST, HALF, END]


def test_v1_forgets_a_reply_whose_grammar_has_begun() -> None:
    request, want = request_for("it waits, general")
    driver = DriveV1(SPLIT, Calibration())
    driver.add([request])
    for _ in want[:6]:
        assert driver.gate._rows
        driver.step()
    assert not driver.gate._rows


def test_v2_looks_at_no_marker_where_no_grammar_waits() -> None:
    driver = DriveV2(SPLIT, Calibration())
    driver.add([Request(AUTO, 1.0), Request(None, has_grammar=True)])
    driver.gate._marker = object()  # type: ignore[assignment] # would raise if it were asked
    for _ in range(6):
        driver.step()


def test_v2_slots_are_used_again() -> None:
    """A slot in which a grammar waited, or had begun, serves a request of either kind."""
    driver = DriveV2(SPLIT, Calibration())
    driver.add([request_for("it waits, general")[0]])
    for name in ("no grammar", "it waits, general", "it waits, auto", "not gated"):
        for _ in range(6):
            driver.step()
        request, want = request_for(name)
        driver.batch, [slot] = [request], driver.slots
        driver.commit(request, slot)
        driver.states.prefill_len.np[slot] = request.prompt_len
        driver.gate.add_request(slot, request.params)
        driver.gate.apply_staged_writes()
        for _ in want:
            driver.step()
        assert request.output == want, name


def test_v2_binds_each_draft_row_of_a_request() -> None:
    """Speculative decoding: rows behind drafts read those, and a draft is not remembered."""
    driver = DriveV2(SPLIT, Calibration())
    rule = TagRule(SPLIT, Calibration(), CPU)
    driver.gate = GateV2(rule, driver.states, 3, MarkerRule(PIECES, CPU))
    request = Request(GENERAL, has_grammar=True, output=[*PAST, FREE])
    driver.add([request])
    slot, begin = driver.slots[0], request.prompt_len + len(request.output)

    def bound_rows(drafts: list[int]) -> list[bool]:
        count = 1 + len(drafts)
        rows = torch.full((count,), slot)
        context = LogitsContext(
            expanded_idx_mapping=rows,
            idx_mapping=rows[:1],
            idx_mapping_np=np.array([slot]),
            expanded_local_pos=torch.arange(count),
            input_ids=torch.tensor([FREE, *drafts], dtype=torch.int32),
            pos=torch.arange(count) + begin - 1,
            seq_lens_upper_bound_np=np.array([begin + len(drafts)]),
        )
        logits = driver.gate.apply(torch.zeros(count, VOCAB), context)
        return torch.isneginf(logits[:, FUSED]).tolist()

    assert bound_rows([HALF, END, HALF]) == [False, True, False, False]
    # None of them was taken, so the grammar still waits.
    assert bound_rows([HALF, HALF, FREE]) == [False, True, True, False]
    request.output += [HALF, END, HALF]
    driver.commit(request, slot)
    begin += 3
    assert bound_rows([HALF, FREE, FREE]) == [False, False, False, False]
