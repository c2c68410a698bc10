"""Documents of the tasks beside this file, and how their answers count.

The persona stands in the messages, where the gateway would put it, by the gateway's own renderer.
It does not travel in `personadual`: the harness sends one set of generation arguments for many
documents, and takes nested ones for the same if their keys are. So what is measured is shared
isolation, and any OpenAI-compatible endpoint can be asked. `personadual evaluate` measures strict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.prompt import PromptForm, render
from model.reply import parse_reply
from training.cards import card_of
from training.evaluation.conditions import Shown, persona_text
from training.evaluation.intervals import Bootstrap, Share, estimate
from training.evaluation.measures import DIFFERENCES
from training.evaluation.readings import read_answer
from training.evaluation.sheet import Group, group_of
from training.evaluation.suites import load_suite, suite_path
from training.items import DataInvalid, Item, Kind, from_line, to_line

if TYPE_CHECKING:
    from datasets import Dataset

Scored = tuple[str, Group, str, bool]
"""An item's id and group, the condition it was asked under, and whether the answer was right."""


def documents(
    conditions: Sequence[str],
    suite: str = "pocket",
    limit: int | None = None,
    reading: str = "exact",
    checkpoint: str | None = None,
    **_others: Any,
) -> dict[str, Dataset]:
    """The items of a suite under each condition; chat turns, which are not judged, are left out.

    All but `conditions` come by the harness's `--metadata`, together with what else it knows.
    `limit` takes so many items, evenly; `reading` is exact or lenient; `checkpoint` is the folder
    of one whose card says where the persona stands.

    Raises:
        DataInvalid: the suite cannot be read, or lacks a persona that a condition needs.
    """
    from datasets import Dataset

    if reading not in ("exact", "lenient"):
        raise DataInvalid(f"reading is {reading}; it must be exact or lenient")
    form = card_of(Path(checkpoint)).prompt if checkpoint else PromptForm()
    shown = [Shown(name) for name in conditions]
    items = load_suite(suite_path(suite), shown, limit)
    judged = [item for item in items if item.kind is not Kind.CHAT]
    rows = [_document(item, one, reading, form) for item in judged for one in shown]
    return {"test": Dataset.from_list(rows)}


def _document(item: Item, shown: Shown, reading: str, form: PromptForm) -> dict[str, str]:
    asked = [{"role": "user", "content": item.question}]
    *system, question = render(persona_text(item, shown), asked, form)
    return {
        "id": item.id,
        "condition": shown.value,
        "reading": reading,
        "system": system[0]["content"] if system else "",
        "question": question["content"],
        "target": item.answers[0],
        "item": to_line(replace(item, personas={}, traces={}, attributes={})),
    }


def judge(document: dict[str, str], replies: Sequence[str]) -> dict[str, Any]:
    """Whether the answer is right, under the name of what it counts for.

    A gateway has taken the tag off; what another endpoint sends is read by the gateway's parser.
    """
    item = from_line(document["item"])
    found = read_answer(item, parse_reply(replies[0]).answer)
    is_right = found.exact if document["reading"] == "exact" else found.lenient
    name = "accuracy" if item.kind is Kind.OBJECTIVE else "personalized_accuracy"
    return {name: bool(is_right)}


def judge_all(document: dict[str, str], replies: Sequence[str]) -> dict[str, Any]:
    """The same where one task asks all conditions: accuracy by condition, and for a question of
    fact its part in each difference between two of them."""
    condition = document["condition"]
    ((name, is_right),) = judge(document, replies).items()
    counted: dict[str, Any] = {f"{name}_{condition}": is_right}
    if name == "accuracy":
        item = from_line(document["item"])
        group = group_of(item.id, item.topic, item.entity)
        scored: Scored = (item.id, group, condition, is_right)
        for difference, pair in DIFFERENCES.items():
            if condition in pair and Shown.INJECTED not in pair:
                counted |= {f"{difference}{end}": scored for end in ("", "_low", "_high")}
    return counted


def _difference(name: str, end: str, scored: Sequence[Scored]) -> float:
    """A difference of two conditions, paired by item, by the functions of `personadual evaluate`:
    its `value`, or the `low` or `high` end of its interval; NaN where one was not asked."""
    groups = {item: group for item, group, _condition, _is_right in scored}
    items = sorted(groups)
    first, second = (_share(items, scored, condition) for condition in DIFFERENCES[name])
    found = estimate([(1, first), (-1, second)], Bootstrap([groups[item] for item in items]))
    return float("nan") if found is None else float(getattr(found, end))


def _share(items: Sequence[str], scored: Sequence[Scored], condition: Shown) -> Share:
    import numpy as np

    share = Share(hits=np.zeros(len(items)), of=np.zeros(len(items)))
    places = {item: place for place, item in enumerate(items)}
    for item, _group, asked, is_right in scored:
        if asked == condition:
            share.hits[places[item]] += is_right
            share.of[places[item]] += 1
    return share


interference, interference_low, interference_high = (
    partial(_difference, "interference", end) for end in ("value", "low", "high")
)
benefit, benefit_low, benefit_high = (
    partial(_difference, "benefit", end) for end in ("value", "low", "high")
)
