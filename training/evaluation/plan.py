"""Plan: what is asked of an endpoint, and how often. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from model.mode import Isolation, Mode
from training.evaluation.conditions import Shown, makes_sense
from training.items import Item, Kind

Key = tuple[str, Shown, Isolation, Mode | None, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that decide what is asked. Seeds are 0, 1, ..., `seeds` - 1.

    With `is_plain` neither seed nor temperature nor `max_tokens` is sent.
    """

    conditions: tuple[Shown, ...] = (Shown.NONE, Shown.ALIGNED, Shown.UNALIGNED)
    isolations: tuple[Isolation, ...] = (Isolation.SHARED,)
    is_forced: bool = False
    seeds: int = 1
    temperature: float = 0.0
    max_tokens: int = 128
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: an item under one condition. `forced` is None where the model chooses."""

    item: Item
    condition: Shown
    isolation: Isolation
    forced: Mode | None
    seed: int

    @property
    def key(self) -> Key:
        return (self.item.id, self.condition, self.isolation, self.forced, self.seed)


def asks(items: Sequence[Item], plan: Plan, *, has_modes: bool) -> list[Ask]:
    """All requests, item by item; an endpoint without modes is asked one way only."""
    return [
        Ask(item, condition, isolation, forced, seed)
        for item in items
        for condition in plan.conditions
        if makes_sense(item, condition)
        for isolation, forced in _ways(item, condition, plan, has_modes)
        for seed in range(plan.seeds)
    ]


def _ways(
    item: Item, condition: Shown, plan: Plan, has_modes: bool
) -> Iterator[tuple[Isolation, Mode | None]]:
    """Isolations and forced modes under one condition.

    Without a persona there is nothing to isolate and nothing for personalised mode to use. A chat
    turn is not judged, so that forcing its mode would show nothing.
    """
    first = plan.isolations[0]
    if not has_modes or condition is Shown.NONE:
        yield first, None
    else:
        for isolation in plan.isolations:
            yield isolation, None
    is_alone = condition is Shown.NONE
    if has_modes and plan.is_forced and item.kind is not Kind.CHAT:
        for mode in (Mode.GENERAL,) if is_alone else Mode:
            yield first, mode
