"""Assignment: which items are held out, and which persona each row stands under."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from model.mode import Mode
from training.data.sample import rank
from training.items import Condition, Item, Kind

Row = tuple[Item, Condition]


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


def sft_rows(items: Iterable[Item], seed: int) -> list[Row]:
    """A row per item: general ones half under the aligned persona and half under the unaligned,
    personalised ones under the aligned."""
    found = list(items)
    general = [item for item in found if item.mode is Mode.GENERAL]
    rows = _halves(general, seed)
    rows += [(item, Condition.ALIGNED) for item in found if item.mode is Mode.PERSONALIZED]
    return _shuffled(rows, seed)


def rl_rows(items: Iterable[Item], no_persona: float, seed: int) -> list[Row]:
    """A row per item: objective ones half under each persona, personal ones under the aligned; and
    for a share of the objective ones a further row, under none."""
    found = list(items)
    objective = [item for item in found if item.kind is Kind.OBJECTIVE]
    rows = _halves(objective, seed)
    rows += [(item, Condition.ALIGNED) for item in found if item.kind is not Kind.OBJECTIVE]
    ordered = sorted(objective, key=lambda item: (rank(seed, "none", item.id), item.id))
    bare = ordered[: round(no_persona * len(ordered))]
    return _shuffled([*rows, *((item, Condition.NONE) for item in bare)], seed)


def _halves(items: Iterable[Item], seed: int) -> list[Row]:
    """Half aligned and half unaligned within each source; of an odd one, one more is aligned."""

    def source(item: Item) -> str:
        return item.topic.partition("/")[0]

    rows: list[Row] = []
    for _source, group in groupby(sorted(items, key=source), key=source):
        ordered = sorted(group, key=lambda item: (rank(seed, "half", item.id), item.id))
        half = (len(ordered) + 1) // 2
        rows += [(item, Condition.ALIGNED) for item in ordered[:half]]
        rows += [(item, Condition.UNALIGNED) for item in ordered[half:]]
    return rows


def _shuffled(rows: list[Row], seed: int) -> list[Row]:
    return sorted(rows, key=lambda row: (rank(seed, f"order {row[1]}", row[0].id), row[0].id))
