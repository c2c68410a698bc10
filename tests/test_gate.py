"""The gate's rule and both adapters, against one table of cases, on the runner's own types."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vllm.v1.sample.logits_processor.interface import BatchUpdate, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

from model.decision import Calibration, Dial
from model.gate.rule import TagRule
from model.gate.v2 import GateV2
from model.mode import TagIds
from tests.gate_drives import (
    AUTO,
    CASES,
    CPU,
    FREE,
    PERSONALIZED_OPENING,
    SPLIT,
    Drive,
    DriveV1,
    DriveV2,
    Request,
    drives,
    expected,
    logits_of,
    taggings,
)


@drives
@taggings
@pytest.mark.parametrize("name", CASES)
def test_each_case_alone(name: str, drive: Drive, ids: TagIds) -> None:
    """The whole opening, and from there on the model's own wish."""
    arguments, lead, _ = CASES[name]
    request = Request(arguments, lead)
    driver = drive(ids, Calibration())
    driver.add([request])
    for _ in range(8):
        driver.step()
    want = expected(name, ids)
    assert request.output[: len(want)] == want


@drives
@taggings
def test_all_cases_in_one_batch_that_grows(drive: Drive, ids: TagIds) -> None:
    """Rows at different places of different tags do not disturb each other."""
    requests = {name: Request(case[0], case[1]) for name, case in CASES.items()}
    driver = drive(ids, Calibration())
    for request in requests.values():
        driver.add([request])
        driver.step()
    for _ in range(8):
        driver.step()
    for name, request in requests.items():
        want = expected(name, ids)
        assert request.output[: len(want)] == want, name


@drives
@taggings
def test_rows_that_are_not_gated_are_untouched(drive: Drive, ids: TagIds) -> None:
    """Bit for bit, beside rows that are steered."""
    requests = [Request(AUTO), Request(None), Request({"another": 1})]
    driver = drive(ids, Calibration())
    driver.add(requests)
    before = logits_of(requests, ids)
    assert torch.equal(driver.step()[1:], before[1:])


@drives
@taggings
def test_a_chunk_of_a_prompt_decides_nothing(drive: Drive, ids: TagIds) -> None:
    """Its sampled token is thrown away; the opening starts where the output starts."""
    request = Request(AUTO, 1.0)
    driver = drive(ids, Calibration())
    driver.add([request])
    driver.step(keep=False)
    driver.step(keep=False)
    for _ in range(6):
        driver.step()
    want = [*PERSONALIZED_OPENING[ids], FREE]
    assert request.output[: len(want)] == want


@drives
@pytest.mark.parametrize("done", range(6))
def test_a_reply_that_comes_back_goes_on(drive: Drive, done: int) -> None:
    """After preemption the request is added anew with its real output, at any place of the tag."""
    opening = [*PERSONALIZED_OPENING[SPLIT], FREE, FREE]
    request = Request(AUTO, 1.0, output=opening[:done])
    driver = drive(SPLIT, Calibration())
    driver.add([request])
    for _ in range(6 - done):
        driver.step()
    assert request.output == opening


@drives
def test_the_calibration_is_part_of_the_decision(drive: Drive) -> None:
    """slope 2, intercept -1: a lead of 0.4 is a score of -0.2, one of 0.6 a score of 0.2."""
    requests = [Request(AUTO, 0.4), Request(AUTO, 0.6)]
    driver = drive(SPLIT, Calibration(2.0, -1.0))
    driver.add(requests)
    driver.step()
    driver.step()
    assert [request.output[1] for request in requests] == [1, 3]


@drives
@pytest.mark.parametrize("calibration", [Calibration(), Calibration(0.3, 1.2, 0.7)])
def test_the_score_is_that_of_the_calibration(drive: Drive, calibration: Calibration) -> None:
    """One formula: on tensors and on numbers it decides alike, from 6 nats below to 6 above."""
    leads = [step / 2 for step in range(-12, 13)]
    bound = Dial().bound(calibration, 0.5)
    for lead in leads:
        request = Request(AUTO, lead)
        driver = drive(SPLIT, calibration)
        driver.add([request])
        driver.step()
        driver.step()
        assert request.output[1] == (3 if calibration.score(lead) >= bound else 1), lead


@drives
def test_drawn_modes_follow_the_probability_and_the_seed(drive: Drive) -> None:
    """p = sigmoid(1) = 0.73: of 400 seeds about 292 are personalised; a seed repeats itself."""
    counts = 0
    for seed in range(400):
        taken = []
        for _ in range(2 if seed < 5 else 1):
            request = Request({"personadual_decision": "sample"}, 1.0, seed=seed)
            driver = drive(SPLIT, Calibration())
            driver.add([request])
            driver.step()
            driver.step()
            taken.append(request.output[1])
        assert len(set(taken)) == 1
        counts += taken[0] == 3
    assert 250 < counts < 330


@drives
def test_ranks_of_one_engine_draw_alike(drive: Drive) -> None:
    """Each takes the decision by itself: with other tags in their caches they would go on apart."""
    taken = []
    for _ in range(2):
        driver = drive(SPLIT, Calibration())
        requests = [Request({"personadual_decision": "sample"}, 0.0) for _ in range(40)]
        driver.add(requests)
        driver.step()
        driver.step()
        taken.append([request.output[1] for request in requests])
    assert taken[0] == taken[1]
    assert len(set(taken[0])) == 2, "all drew the same: this shows nothing"


@drives
def test_a_token_that_is_forbidden_is_not_revived(drive: Drive) -> None:
    """A grammar that came first wins: the row is left alone instead of emptied."""
    driver = drive(SPLIT, Calibration())
    driver.add([Request(AUTO, 1.0)])
    driver.step()
    driver.batch[0].lead = math.nan
    logits = driver.step()
    assert torch.isneginf(logits[0, [1, 3]]).all()
    assert logits[0].argmax() == FREE


@drives
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_half_a_tag_is_not_taken_up_again(drive: Drive, at: int) -> None:
    """A token of the tag that is forbidden once: from there on the reply is the model's own."""
    request = Request({"personadual_mode": "personalized"})
    driver = drive(SPLIT, Calibration())
    driver.add([request])
    for step in range(7):
        driver.forbidden = PERSONALIZED_OPENING[SPLIT][at] if step == at else None
        driver.step()
    assert request.output == [*PERSONALIZED_OPENING[SPLIT][:at], *[FREE] * (7 - at)]


def test_v1_survives_placeholders() -> None:
    """Under async scheduling the output list holds -1: the gate remembers what it forced."""
    request = Request(AUTO, 1.0)
    driver = DriveV1(SPLIT, Calibration())
    driver.add([request])
    steered = [int(driver.step(placeholders=True)[0].argmax()) for _ in range(5)]
    assert steered == [*PERSONALIZED_OPENING[SPLIT], FREE]


def test_v1_follows_rows_that_move() -> None:
    """Removed, moved and swapped rows: state goes with the request, in vLLM's order of events."""
    first, second, third = Request(AUTO, 1.0), Request(AUTO, -1.0), Request(AUTO, 1.0)
    driver = DriveV1(SPLIT, Calibration())
    driver.add([first, second, third])
    driver.step()
    driver.step()
    driver.batch = [third, second]
    one_way, swap = MoveDirectionality.UNIDIRECTIONAL, MoveDirectionality.SWAP
    driver.gate.update_state(BatchUpdate(2, [0], [], [(2, 0, one_way)]))
    driver.step()
    driver.batch = [second, third]
    driver.gate.update_state(BatchUpdate(2, [], [], [(0, 1, swap)]))
    for _ in range(3):
        driver.step()
    assert second.output[:4] == [0, 1, 2, FREE]
    assert third.output[:5] == [0, 3, 4, 2, FREE]


def test_v1_forgets_a_reply_behind_its_tag() -> None:
    """A batch without undecided rows costs one comparison: nothing is left to look at."""
    driver = DriveV1(SPLIT, Calibration())
    driver.add([Request(AUTO, 1.0), Request(None)])
    for _ in range(5):
        driver.step()
    assert not driver.gate._rows
    logits = logits_of(driver.batch, SPLIT)
    assert driver.gate.apply(logits) is logits


def test_v2_does_nothing_behind_the_tags() -> None:
    """The host sees by lengths alone that no row is within a tag."""
    driver = DriveV2(SPLIT, Calibration())
    driver.add([Request(AUTO, 1.0), Request(None)])
    for _ in range(4):
        driver.step()
    driver.gate._rule = None  # type: ignore[assignment] # would raise if it were asked
    assert torch.equal(driver.step(), logits_of(driver.batch, SPLIT))


def test_v2_slots_are_used_again() -> None:
    """A slot of a gated request serves one that is not, and the other way round."""
    driver = DriveV2(SPLIT, Calibration())
    gated = Request(AUTO, 1.0)
    driver.add([gated])
    slot = driver.slots[0]
    for second, steered in ((Request(None), FREE), (Request(AUTO, -1.0), 0)):
        driver.batch, driver.slots = [second], [slot]
        driver.commit(second, slot)
        driver.gate.add_request(slot, second.params)
        driver.gate.apply_staged_writes()
        driver.step()
        assert second.output == [steered]


def test_v2_steers_each_draft_row_of_a_request() -> None:
    """Speculative decoding: three rows of one reply, of which two lie behind draft tokens."""
    driver = DriveV2(SPLIT, Calibration())
    driver.gate = GateV2(TagRule(SPLIT, Calibration(), CPU), driver.states, drafts_per_step=3)
    request = Request(AUTO, 1.0)
    driver.add([request])
    slot, begin = driver.slots[0], request.prompt_len
    rows = torch.full((4,), slot)
    context = LogitsContext(
        expanded_idx_mapping=rows,
        idx_mapping=rows[:1],
        idx_mapping_np=np.array([slot]),
        expanded_local_pos=torch.arange(4),
        # Row 0 samples the first output token; drafts 0 (shared), 1 (general), 2 follow.
        input_ids=torch.tensor([8, 0, 1, 2], dtype=torch.int32),
        pos=torch.arange(4) + begin - 1,
        seq_lens_upper_bound_np=np.array([begin + 3]),
    )
    logits = driver.gate.apply(logits_of([request] * 4, SPLIT), context)
    # Shared opening; the model's own decision; then, behind the draft's decision, its tag, its end.
    assert logits.argmax(-1).tolist() == [0, 3, 2, FREE]
