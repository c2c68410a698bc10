"""Every held-out fact asked of several checkpoints, by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.facts import facts, measure, table
from benchmarks.served import Serve
from tests.simulated_endpoint import MODEL, Reply, Request, Simulated, right, running
from training.evaluation.conditions import Shown
from training.evaluation.suites import POCKET
from training.items import Kind, load_items

ASKED = 12


def swayed(asked: Request) -> Reply:
    """Right without a persona alone."""
    return right(asked) if asked.condition is Shown.NONE else Reply("something else")


def checkpoint(folder: Path, weights: str) -> Path:
    """Of the name that the endpoint serves; its weights are not looked into."""
    folder.mkdir()
    (folder / MODEL).mkdir()
    (folder / MODEL / "model.safetensors").write_text(weights)
    return folder / MODEL


def test_each_checkpoint_has_its_own_answers_and_is_asked_once(tmp_path: Path) -> None:
    items = facts(load_items(POCKET))
    assert {item.kind for item in items} == {Kind.OBJECTIVE}
    sound, base = Simulated(items, right), Simulated(items, swayed, has_modes=False)

    def at(served: Simulated) -> Serve:
        @contextmanager
        def serve(_checkpoint: Path, _data: Path) -> Iterator[str]:
            yield served.url

        return serve

    with running(sound), running(base):
        chosen = [
            (checkpoint(tmp_path / "sound", "a"), at(sound)),
            (checkpoint(tmp_path / "base", "b"), at(base)),
        ]
        written = table(measure(chosen, tmp_path / "facts", ASKED))
        assert table(measure(chosen, tmp_path / "facts", ASKED)) == written
    for served in (sound, base):
        assert len(served.seen) == 2 * ASKED
        assert {asked.mode for asked in served.seen} == {None}
    rows = [[cell.split()[0] for cell in line.split("|")[2:-1]] for line in written.splitlines()]
    assert rows[2:] == [
        ["100.0", "100.0", "0.0", "0.0", "0.0"],
        ["100.0", "0.0", "100.0", "100.0", "0.0"],
    ]
