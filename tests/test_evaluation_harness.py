"""Our suites in lm-evaluation-harness: what it sends to a gateway, and the figures it reports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from model.card import Card, save_card
from model.mode import Mode
from testbed.fake_engine import Script
from tests.conftest import Gateway
from tests.evaluation_bench import bench
from tests.paper_form import PAPER_FORM
from tests.simulated_endpoint import Reply, Request, facts, wishes, write_lines
from tests.simulated_endpoint import right as answer_right
from training.evaluation import harness
from training.evaluation.conditions import Shown
from training.evaluation.harness.documents import (
    benefit,
    documents,
    interference,
    interference_high,
    interference_low,
    judge,
    judge_all,
)
from training.evaluation.suites import POCKET, load_suite
from training.items import Condition, DataInvalid, Item, Kind, from_line, save_items

FOLDER = Path(harness.__file__).parent
SHOWN = [Shown.NONE, Shown.ALIGNED, Shown.UNALIGNED]
Body = dict[str, Any]


class Model:
    """Knows the answers to its items, but not to two facts under an unaligned persona."""

    def __init__(self, items: list[Item]) -> None:
        self._items = {item.question: item for item in items}
        self._broken = [item.id for item in items if item.kind is Kind.OBJECTIVE][:2]
        self.shown: list[tuple[str, Condition]] = []

    def answer(self, body: Body) -> str:
        *system, question = body["messages"]
        item = self._items[question["content"]]
        condition = _condition(item, system[0]["content"] if system else "")
        self.shown.append((item.id, condition))
        is_broken = condition is Condition.UNALIGNED and item.id in self._broken
        return "beetroot" if is_broken else item.answers[0]


def _condition(item: Item, system: str) -> Condition:
    """Which of its own personas was sent with an item; anything else is an error."""
    told = {f"This is what we know about the user:\n{text}": c for c, text in item.personas.items()}
    return (told | {"": Condition.NONE})[system]


def ten_of_pocket() -> list[Item]:
    """Five facts and five wishes; no question twice."""
    items = {item.question: item for item in load_suite(POCKET, SHOWN)}.values()
    kinds = Kind.OBJECTIVE, Kind.PERSONALIZED
    return [item for kind in kinds for item in [one for one in items if one.kind is kind][:5]]


def test_ten_items_of_pocket_through_a_gateway(
    library: Callable[[str], ModuleType], gateway: Gateway, script: Script, tmp_path: Path
) -> None:
    """Each item is asked once under each condition, with its own persona; of 5 facts 2 are lost to
    the unaligned one: 40 points of interference."""
    lm_eval = library("lm_eval")
    suite = tmp_path / "ten.jsonl"
    save_items(ten_of_pocket(), suite)
    model = Model(ten_of_pocket())
    script.answer_to = model.answer
    found = lm_eval.simple_evaluate(
        model="local-chat-completions",
        model_args={
            "base_url": f"{gateway.url}/v1/chat/completions",
            "model": "pocket",
            "num_concurrent": 4,
        },
        tasks=["personadual", "personadual_conditions"],
        task_manager=lm_eval.tasks.TaskManager(
            include_path=str(FOLDER), include_defaults=False, metadata={"suite": str(suite)}
        ),
        apply_chat_template=True,
        log_samples=False,
    )["results"]
    whole = found["personadual"]
    assert whole["interference,none"] == pytest.approx(0.4)
    assert -1.0 < whole["interference_low,none"] < 0.4 < whole["interference_high,none"] <= 1.0
    assert whole["benefit,none"] == 0.0
    accuracy = {shown: whole[f"accuracy_{shown},none"] for shown in SHOWN}
    assert accuracy == {Shown.NONE: 1.0, Shown.ALIGNED: 1.0, Shown.UNALIGNED: 0.6}
    assert whole["personalized_accuracy_aligned,none"] == 1.0
    for shown in SHOWN:
        assert found[f"personadual_{shown}"]["accuracy,none"] == accuracy[shown]
    # Once by the task of all conditions, once by the three tasks of one.
    assert len(model.shown) == 2 * len(set(model.shown)) == 60
    # The default stop texts would end a reply before its answer.
    assert all(not body.get("stop") for body in script.seen)


def test_a_suite_of_ones_own_is_asked_where_its_checkpoint_wants_the_persona(
    tmp_path: Path,
) -> None:
    suite = tmp_path / "own.jsonl"
    suite.write_text(write_lines([*facts(1), {**wishes(1)[0], "id": "talk", "kind": "chat"}]))
    save_card(Card(prompt=PAPER_FORM), tmp_path)
    others = {"model": "pocket", "version": 1}
    asked = documents(["none", "aligned"], str(suite), checkpoint=str(tmp_path), **others)["test"]
    bare, shown = asked
    fact = facts(1)[0]
    assert (bare["system"], bare["question"]) == ("", fact["question"])
    persona = fact["personas"]["aligned"]
    assert (shown["system"], shown["question"]) == (
        "",
        f"I am {persona}, my question is:\n{fact['question']}",
    )
    assert persona not in shown["item"]


def test_answers_are_read_as_elsewhere(tmp_path: Path) -> None:
    """Exactly or leniently, with or without a gateway that takes the tag off."""
    suite = tmp_path / "own.jsonl"
    suite.write_text(write_lines(facts(1)))
    right = facts(1)[0]["answers"][0]
    for reading, reply, is_right in (
        ("exact", right, True),
        ("exact", f"[General_mode]\nA sum.\n\n<answer>{right}</answer>", True),
        ("exact", f"It must be {right}.", False),
        ("lenient", f"It must be {right}.", True),
        ("lenient", "", False),
    ):
        (document,) = documents(["unaligned"], str(suite), reading=reading)["test"]
        assert judge(document, [reply]) == {"accuracy": is_right}
        scored = ("fact-000", ("", "fact-000"), "unaligned", is_right)
        assert judge_all(document, [reply]) == {
            "accuracy_unaligned": is_right,
            "interference": scored,
            "interference_low": scored,
            "interference_high": scored,
        }
    with pytest.raises(DataInvalid, match="must be exact or lenient"):
        documents(["none"], str(suite), reading="loose")


def test_a_difference_is_paired_by_item() -> None:
    """Of three items asked under both, 3 right without and 1 right with: 2 of 3 lost. The fourth
    was asked under one alone and does not count."""
    right = {"none": "abcd", "unaligned": "a"}
    asked = {"none": "abcd", "unaligned": "abc"}
    scored = [
        (item, ("", item), condition, item in right[condition])
        for condition, items in asked.items()
        for item in items
    ]
    assert interference(scored) == pytest.approx(2 / 3)
    assert interference_low(scored) <= interference(scored) <= interference_high(scored)
    assert math.isnan(benefit(scored))


def test_an_interval_is_that_of_the_report(tmp_path: Path) -> None:
    """24 facts on 6 entities, of which one persona costs two: facts that share an entity are drawn
    together in both."""
    lines = [{**line, "entity": f"e{place // 4}"} for place, line in enumerate(facts(24))]

    def is_lost(item: Item, condition: str) -> bool:
        return condition == Shown.UNALIGNED and item.entity in ("e1", "e4")

    def loses(asked: Request) -> Reply:
        is_wrong = is_lost(asked.item, asked.condition)
        return Reply("beetroot", Mode.GENERAL) if is_wrong else answer_right(asked)

    with bench(tmp_path, lines) as found:
        found.call("--conditions", "none,unaligned", behave=loses)
        row = found.row("interference", "auto/shared", "objective", "exact")["estimate"]
    asked = documents(["none", "unaligned"], str(found.suite))["test"]
    scored = []
    for document in asked:
        item = from_line(document["item"])
        reply = "beetroot" if is_lost(item, document["condition"]) else item.answers[0]
        scored.append(judge_all(document, [reply])["interference"])
    ends = [end(scored) for end in (interference, interference_low, interference_high)]
    assert ends == pytest.approx([row["value"], row["low"], row["high"]])


def test_documents_can_be_logged(tmp_path: Path) -> None:
    """The harness writes them as JSON when it is told to log samples."""
    suite = tmp_path / "own.jsonl"
    suite.write_text(write_lines([*facts(2), *wishes(2)]))
    asked = documents(["none", "unaligned"], str(suite), limit=2)["test"]
    assert len(json.loads(json.dumps(list(asked)))) == 4
