"""Rows: under which persona an item is shown in training, and in which mode it is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from model.mode import Mode, Tags
from model.prompt import PromptForm
from training.items import Condition, DataInvalid, Item, Kind, messages, mode_under, write_reply

R = TypeVar("R")
NONE, ALIGNED, UNALIGNED = Condition


@dataclass(frozen=True, slots=True)
class Row:
    """A row of SFT. `opening` is given and not trained: the tag, where a mode was forced.

    A `twin` is the row before it under the item's other persona.
    """

    messages: list[dict[str, Any]]
    opening: str
    completion: str
    is_twin: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """An item under a condition, and the mode that is expected there."""

    item: Item
    condition: Condition
    mode: Mode


def sft_rows(
    items: Sequence[Item],
    form: PromptForm,
    tags: Tags,
    *,
    seed: int,
    forced: float = 0.4,
    paired: float = 0.0,
    only_mode: Mode | None = None,
) -> Iterator[Row]:
    """Each item in the mode that it asks for, and a share of those with a trace in the other mode
    in that one too.

    In the other mode the tag belongs to the prompt: the reply is trained, the choice is not.
    An item stands under its own `condition`. Where it has none, general rows stand half under an
    unaligned persona and a quarter each under an aligned one and none; personalised ones under the
    aligned one. A tenth of these stands under none, in general mode, where they have a trace for
    it: nothing is known that could be used.

    A share `paired` of the general rows under a persona that was drawn stands under the item's
    other one too, the reply the same to the letter: what general mode says must not hang on who
    asks.

    With `only_mode` there is no choice to learn: as many rows, all in that mode, under a persona.

    Raises:
        DataInvalid: an item has no trace for its mode.
    """
    rng = random.Random(seed)
    for item in items:
        if only_mode is not None:
            for _ in range(1 + (rng.random() < forced)):
                condition = _draw_persona(item, only_mode, rng)
                yield _row(item, condition, only_mode, form, tags, is_forced=False)
            continue
        condition = _draw(item, rng)
        mode = Mode.GENERAL if condition is NONE else item.mode
        shown = [(condition, mode, False)]
        if rng.random() < forced and (other := _other(item.mode)) in item.traces:
            shown.append((_draw_persona(item, other, rng), other, True))
        for condition, mode, is_forced in shown:
            yield _row(item, condition, mode, form, tags, is_forced=is_forced)
            is_open = item.condition is None and condition is not NONE and mode is Mode.GENERAL
            if is_open and rng.random() < paired:
                swapped = ALIGNED if condition is UNALIGNED else UNALIGNED
                twin = _row(item, swapped, mode, form, tags, is_forced=is_forced)
                yield replace(twin, is_twin=True)


def side_by_side(rows: Sequence[R], twins: Sequence[bool], length: Callable[[R], int]) -> list[R]:
    """Rows in twos: each pair, and the others beside one of about their own length. An odd one is
    left out: it would part all the pairs behind it.

    `twins` says of each row whether the row before it is the other one of its pair.
    """
    pairs: list[tuple[R, R]] = []
    alone: list[R] = []
    for row, is_twin in zip(rows, twins, strict=True):
        if is_twin:
            pairs.append((alone.pop(), row))
        else:
            alone.append(row)
    alone.sort(key=length)
    others = zip(alone[::2], alone[1::2], strict=False)
    return [row for two in (*pairs, *others) for row in two]


def sft_conditions(
    item: Item, forced: float, paired: float, only_mode: Mode | None
) -> Collection[Condition]:
    """The conditions under which `sft_rows` may show an item."""
    if only_mode is not None:
        return _persona_choices(item, only_mode)
    found = {*_choices(item)}
    if forced and _other(item.mode) in item.traces:
        found |= {*_persona_choices(item, _other(item.mode))}
    is_general = item.mode is Mode.GENERAL or (forced and Mode.GENERAL in item.traces)
    if paired and is_general and item.condition is None:
        found |= {ALIGNED, UNALIGNED}
    return sorted(found)


def asked_conditions(item: Item) -> list[Condition]:
    """The conditions under which DualGRPO may ask an item, each as likely: its own, else the
    persona that it follows from where it follows from one, else any or none."""
    if item.condition is not None:
        return [item.condition]
    return [ALIGNED] if item.mode is Mode.PERSONALIZED else list(Condition)


def draw_condition(item: Item, rng: random.Random) -> Condition:
    """One of `asked_conditions`."""
    choices = asked_conditions(item)
    return choices[0] if len(choices) == 1 else rng.choice(choices)


def evaluated_conditions(item: Item) -> list[Condition]:
    """The conditions under which evaluation expects a mode of an item."""
    return [one for one in Condition if mode_under(item.mode, one) is not None]


def as_evaluated(items: Sequence[Item]) -> list[Asked]:
    """Each item as evaluation asks for it: a personal question without a persona too, which is a
    general one."""
    return [
        Asked(item, condition, mode)
        for item in items
        for condition in Condition
        if (mode := mode_under(item.mode, condition)) is not None
    ]


def _draw(item: Item, rng: random.Random) -> Condition:
    if item.condition is not None:
        return item.condition
    choices = _choices(item)
    if item.mode is Mode.PERSONALIZED:
        return choices[-1] if rng.random() < 0.1 else ALIGNED
    return rng.choice(choices)


def _choices(item: Item) -> list[Condition]:
    """The conditions of an item in the mode that it asks for; a general one's by their shares."""
    if item.condition is not None:
        return [item.condition]
    if item.mode is Mode.GENERAL:
        return [UNALIGNED, UNALIGNED, ALIGNED, NONE]
    # Without a persona the question is a general one, which needs a general trace.
    return [ALIGNED, NONE] if Mode.GENERAL in item.traces else [ALIGNED]


def _draw_persona(item: Item, mode: Mode, rng: random.Random) -> Condition:
    choices = _persona_choices(item, mode)
    return choices[0] if rng.random() < 0.5 else choices[-1]


def _persona_choices(item: Item, mode: Mode) -> list[Condition]:
    """Any persona, for a mode that is not chosen.

    A fact keeps its answer under any persona; what a persona decides needs the one it is.
    """
    is_decided = item.kind is not Kind.OBJECTIVE and mode is Mode.PERSONALIZED
    return [ALIGNED] if is_decided else [UNALIGNED, ALIGNED]


def _other(mode: Mode) -> Mode:
    return Mode.GENERAL if mode is Mode.PERSONALIZED else Mode.PERSONALIZED


def _row(
    item: Item, condition: Condition, mode: Mode, form: PromptForm, tags: Tags, *, is_forced: bool
) -> Row:
    if mode not in item.traces:
        raise DataInvalid(f"item {item.id} has no trace for {mode} mode; training needs one")
    tag, trace = tags[mode], item.traces[mode]
    asked = messages(item, condition, form)
    if is_forced:
        return Row(asked, tag, write_reply(trace))
    return Row(asked, "", write_reply(trace, tag))
