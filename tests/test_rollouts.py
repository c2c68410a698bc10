"""Rollouts: half of each group per mode, tags forced and given back, modes read from tokens."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.mode import Mode, TagIds
from training.rollouts import force, join, mode_of, plan_modes

G, P = Mode.GENERAL, Mode.PERSONALIZED
# SmolLM2's ids: the tags share their first token and differ in length.
TAGS = TagIds((75, 12522, 79, 9368, 77, 198), (75, 26341, 1005, 79, 9368, 77, 198))


def test_half_of_each_group_is_forced_to_each_mode() -> None:
    assert plan_modes(0, 8, 4) == [G, G, P, P, G, G, P, P]
    assert plan_modes(0, 2, 2) == [G, P]
    assert plan_modes(7, 0, 4) == []


@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 40))
def test_processes_plan_parts_of_one_batch(half: int, first: int, count: int) -> None:
    """Rows are numbered over all processes: a group may be cut anywhere between two of them."""
    whole = plan_modes(0, first + count, 2 * half)
    assert plan_modes(first, count, 2 * half) == whole[first:]
    for begin in range(0, first + count - 2 * half + 1, 2 * half):
        assert whole[begin : begin + 2 * half].count(G) == half


@pytest.mark.parametrize("group_size", [-2, 0, 1, 3, 7])
def test_a_group_without_two_halves_is_refused(group_size: int) -> None:
    """The message says what to do."""
    with pytest.raises(ValueError, match=f"group_size is {group_size}: choose an even number"):
        plan_modes(0, 4, group_size)


@pytest.mark.parametrize(("first", "count"), [(-1, 4), (0, -1)])
def test_rows_that_cannot_be_are_refused(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="zero or more"):
        plan_modes(first, count, 4)


def test_rows_of_a_group_differ_in_the_tag_alone() -> None:
    """Trainers repeat a prompt by reference. Appending in place would stack all eight tags."""
    prompt = [1, 2, 3]
    shared = [prompt] * 8
    modes = plan_modes(0, 8, 8)
    forced = force(shared, modes, TAGS)
    assert prompt == [1, 2, 3]
    assert forced == [[1, 2, 3, *TAGS[mode]] for mode in modes]
    forced[0].append(9)
    assert forced[1] == [1, 2, 3, *TAGS.general]


def test_forced_tokens_have_no_sampling_logprob() -> None:
    """None, never 0.0, and the sampled ones stay beside their tokens."""
    sampled, logps = [[5, 6], [7]], [[-0.5, None], [-0.1]]
    before = copy.deepcopy((sampled, logps))
    ids, joined = join(TAGS, [G, P], sampled, logps, limit=20)
    assert ids == [[*TAGS.general, 5, 6], [*TAGS.personalized, 7]]
    assert joined == [[None] * 6 + [-0.5, None], [None] * 7 + [-0.1]]
    assert (sampled, logps) == before


def test_a_completion_is_cut_at_the_limit_with_its_tag_counted() -> None:
    """Both modes get the same limit, so the longer tag leaves one token less."""
    rows = [[1, 2, 3, 4], [1, 2, 3, 4]]
    ids, logps = join(TAGS, [G, P], rows, [[-1.0, -2.0, -3.0, -4.0]] * 2, limit=9)
    assert ids == [[*TAGS.general, 1, 2, 3], [*TAGS.personalized, 1, 2]]
    assert logps == [[None] * 6 + [-1.0, -2.0, -3.0], [None] * 7 + [-1.0, -2.0]]


def test_without_logprobs_there_are_none() -> None:
    """Some samplers give none; a row of Nones would claim that one did."""
    assert join(TAGS, [G], [[4]], None, limit=20) == ([[*TAGS.general, 4]], None)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 prompts, but 1 modes"):
        force([[1], [2]], [G], TAGS)
    with pytest.raises(ValueError, match="1 completions, but 2 modes"):
        join(TAGS, [G, P], [[1]], None, limit=20)
    with pytest.raises(ValueError, match="row by row"):
        join(TAGS, [G], [[1, 2]], [[-0.1]], limit=20)
    with pytest.raises(ValueError, match="row by row"):
        join(TAGS, [G, P], [[1], [2]], [[-0.1]], limit=20)


def test_a_limit_without_room_behind_the_tag_is_refused() -> None:
    """Also where only the longer tag would fill it: the modes must be able to answer alike."""
    with pytest.raises(ValueError, match="above 7"):
        join(TAGS, [G], [[1]], None, limit=7)
    assert join(TAGS, [P], [[1]], None, limit=8)[0] == [[*TAGS.personalized, 1]]


def test_the_mode_is_that_of_the_exact_tag() -> None:
    assert mode_of([*TAGS.general, 5], TAGS) is G
    assert mode_of(list(TAGS.personalized), TAGS) is P
    for ids in ([], [75], TAGS.personalized[:-1], [1, *TAGS.general], [*TAGS.general[:-1], 9]):
        assert mode_of(ids, TAGS) is None


@given(
    st.lists(st.tuples(st.sampled_from(Mode), st.lists(st.integers(0, 50_000)))).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))
    )
)
def test_the_mode_follows_the_tokens_through_any_order(
    case: tuple[list[tuple[Mode, list[int]]], list[int]],
) -> None:
    """Trainers shuffle and re-balance rows: position says nothing."""
    rows, order = case
    ids, _ = join(TAGS, [mode for mode, _ in rows], [row for _, row in rows], None, limit=64)
    assert [mode_of(ids[place], TAGS) for place in order] == [rows[place][0] for place in order]
