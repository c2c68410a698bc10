"""Assignment: which items are held out, and which persona each item is trained under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from model.mode import Mode
from training.data.sample import rank
from training.items import Condition, Item, Kind


@dataclass(frozen=True, slots=True)
class Split:
    """Items of one stage; the two sides share no entity, within and across stages."""

    train: list[Item]
    validation: list[Item]


def split(stages: Sequence[Sequence[Item]], share: float, seed: int) -> list[Split]:
    """Hold out a share of all entities, drawn by digest; one at least if the share is above 0."""
    entities = {item.entity for items in stages for item in items}
    ordered = sorted(entities, key=lambda entity: (rank(seed, "split", entity), entity))
    count = max(1, round(share * len(ordered))) if share and ordered else 0
    held_out = set(ordered[:count])
    return [
        Split(
            [item for item in items if item.entity not in held_out],
            [item for item in items if item.entity in held_out],
        )
        for items in stages
    ]


def assigned(items: Iterable[Item], seed: int) -> list[Item]:
    """Items with the condition that they are trained under: general ones half under the aligned
    persona and half under the unaligned, personalised ones under the aligned."""
    found = list(items)
    rows = _halves([item for item in found if item.mode is Mode.GENERAL], seed)
    rows += _under(Condition.ALIGNED, (i for i in found if i.mode is Mode.PERSONALIZED))
    return _shuffled(rows, seed)


def assigned_rl(items: Iterable[Item], no_persona: float, seed: int) -> list[Item]:
    """Items with their condition: objective ones half under each persona, personal ones under the
    aligned; and a share of the objective ones once more, under none."""
    found = list(items)
    objective = [item for item in found if item.kind is Kind.OBJECTIVE]
    rows = _halves(objective, seed)
    rows += _under(Condition.ALIGNED, (i for i in found if i.kind is not Kind.OBJECTIVE))
    ordered = sorted(objective, key=lambda item: (rank(seed, "none", item.id), item.id))
    bare = ordered[: round(no_persona * len(ordered))]
    again = (replace(item, id=f"{item.id}/none") for item in bare)
    return _shuffled([*rows, *_under(Condition.NONE, again)], seed)


def _under(condition: Condition, items: Iterable[Item]) -> list[Item]:
    return [replace(item, condition=condition) for item in items]


def _halves(items: Iterable[Item], seed: int) -> list[Item]:
    """Half aligned and half unaligned within each source; of an odd one, one more is aligned."""

    def source(item: Item) -> str:
        return item.topic.partition("/")[0]

    rows: list[Item] = []
    for _source, group in groupby(sorted(items, key=source), key=source):
        ordered = sorted(group, key=lambda item: (rank(seed, "half", item.id), item.id))
        half = (len(ordered) + 1) // 2
        rows += _under(Condition.ALIGNED, ordered[:half])
        rows += _under(Condition.UNALIGNED, ordered[half:])
    return rows


def _shuffled(items: list[Item], seed: int) -> list[Item]:
    return sorted(items, key=lambda item: (rank(seed, f"order {item.condition}", item.id), item.id))
