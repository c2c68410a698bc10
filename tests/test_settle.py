"""What Pocket settles on: which questions, and what is done again after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.settle import make
from model.mode import Mode
from tests.noted_product import Product
from training.checkpoints import KEPT
from training.items import Kind, load_items
from training.pocket.make import to_settle

DATA = Path(__file__).parents[1] / "training" / "pocket" / "data"


def test_the_questions_are_of_the_side_for_reinforcement() -> None:
    """The same ones every time, those among them that DualGRPO sees too. Of those that are not
    asked no answer of general mode is trained: none was given by the model."""
    asked, as_they_are = to_settle()
    assert [item.kind is Kind.OBJECTIVE for item in asked] == [True] * 2_300 + [False] * 1_000
    assert (asked, as_they_are) == to_settle()
    assert len(as_they_are) == 1_500
    for item in as_they_are:
        assert (item.kind, *item.traces) == (Kind.PERSONALIZED, Mode.PERSONALIZED)
    items = asked + as_they_are
    assert len({item.id for item in items}) == len(items)
    assert all(item.id.startswith("reinforce-") for item in items)
    reinforced = {item.id: item for item in load_items(DATA / "reinforce.jsonl")}
    for item in items:
        assert item == replace(reinforced.get(item.id, item), traces=item.traces)
    for name in ("train", "held_out", "calibration"):
        others = {item.question for item in load_items(DATA / f"{name}.jsonl")}
        assert not others & {item.question for item in items if item.kind is Kind.OBJECTIVE}


class Asked(Product):
    """One that also serves, and whose model answers each question."""

    def __call__(self, *arguments: object, processes: int = 1) -> None:
        if arguments[1] == "own-answers":
            url, name, questions, own = map(str, arguments[2:6])
            assert (url, name) == ("http://served", "checkpoint")
            Path(own).write_bytes(Path(questions).read_bytes())
        super().__call__(*arguments, processes=processes)

    @contextmanager
    def serve(self, checkpoint: Path, data: Path) -> Iterator[str]:
        self.ran.append("serve")
        yield "http://served"


def test_a_stage_has_ended_only_when_it_has(tmp_path: Path) -> None:
    """Another adapter, or another card of it, is asked anew, and its items take the place of the
    first one's."""
    adapter, out = tmp_path / "adapter", tmp_path / "own"
    adapter.mkdir()
    for name in KEPT:
        (adapter / name).write_text("first")
    killed = Asked(killed_in="own-answers")
    with pytest.raises(KeyboardInterrupt):
        make(adapter, out, killed, killed.serve)
    assert not (out / "items.jsonl").exists()
    again = Asked()
    for _ in range(2):
        made = make(adapter, out, again, again.serve)
    assert again.ran == ["serve", "own-answers"]
    assert made == out / "items.jsonl"
    asked, as_they_are = to_settle()
    assert load_items(made) == asked + as_they_are
    for name in KEPT:
        again.ran.clear()
        (adapter / name).write_text("second")
        make(adapter, out, again, again.serve)
        assert again.ran == ["export", "serve", "own-answers"]
