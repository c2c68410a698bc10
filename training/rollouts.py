"""Rollouts: half of each group opens with one tag, half with the other.

The tag is forced by appending its ids to the prompt, and given back to the completion, whose
tokens are trained. Plain lists and ids: no trainer, no tokenizer, no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.mode import Mode, TagIds

Logps = list[float | None]
"""Sampling log-probabilities in nats; None for a token that was forced and not sampled."""


def plan_modes(first_row: int, count: int, group_size: int) -> list[Mode]:
    """The modes to force on rows `first_row` to `first_row + count` of the whole batch.

    Rows are numbered over all processes, so that a group may lie across two of them. The first
    half of a group is general. This plans what is generated; afterwards the mode of a row is read
    from its tokens (`mode_of`), because trainers reorder rows.

    Raises:
        ValueError: an odd or too small group size, or a negative row or count.
    """
    if group_size < 2 or group_size % 2:
        raise ValueError(
            f"group_size is {group_size}: choose an even number of at least 2, "
            "since half of a group's rollouts are forced to each mode"
        )
    if first_row < 0 or count < 0:
        raise ValueError("first_row and count must be zero or more")
    return [
        Mode.GENERAL if row % group_size < group_size // 2 else Mode.PERSONALIZED
        for row in range(first_row, first_row + count)
    ]


def force(
    prompt_ids: Sequence[Sequence[int]], modes: Sequence[Mode], tag_ids: TagIds
) -> list[list[int]]:
    """Prompts that end with their mode's tag. New lists: the rows of a group may share one prompt.

    Raises:
        ValueError: not one mode per prompt.
    """
    if len(prompt_ids) != len(modes):
        raise ValueError(f"{len(prompt_ids)} prompts, but {len(modes)} modes")
    return [[*ids, *tag_ids[mode]] for ids, mode in zip(prompt_ids, modes, strict=True)]


def join(
    tag_ids: TagIds,
    modes: Sequence[Mode],
    sampled: Sequence[Sequence[int]],
    logps: Sequence[Sequence[float | None]] | None,
    limit: int,
) -> tuple[list[list[int]], list[Logps] | None]:
    """Completions of at most `limit` tokens: the forced tag, then what was sampled behind it.

    `logps` are the sampler's, as long as `sampled`, or None where it gives none. A forced token
    gets None. Its 0.0 would say that the sampler was certain of it, and the importance ratio of
    the whole row would shrink to the policy's probability of the tag.

    Raises:
        ValueError: unequal lengths, or a limit that leaves no room behind a tag.
    """
    if limit <= tag_ids.longest:
        raise ValueError(f"limit must be above {tag_ids.longest}, the length of the longer tag")
    if len(sampled) != len(modes):
        raise ValueError(f"{len(sampled)} completions, but {len(modes)} modes")
    tags = [tag_ids[mode] for mode in modes]
    ids = [[*tag, *row][:limit] for tag, row in zip(tags, sampled, strict=True)]
    if logps is None:
        return ids, None
    if [len(row) for row in logps] != [len(row) for row in sampled]:
        raise ValueError("log-probabilities must be as many as the sampled tokens, row by row")
    forced: list[Logps] = [[None] * len(tag) for tag in tags]
    return ids, [[*head, *row][:limit] for head, row in zip(forced, logps, strict=True)]


def mode_of(ids: Sequence[int], tag_ids: TagIds) -> Mode | None:
    """The mode of a completion, by the exact ids of its tag; None if it opens with neither."""
    for mode in Mode:
        tag = tag_ids[mode]
        if tuple(ids[: len(tag)]) == tag:
            return mode
    return None
