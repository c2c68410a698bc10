"""Two runs side by side: on which items, asked how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model.mode import Isolation, Mode
from tests.evaluation_bench import bench
from tests.simulated_endpoint import Behaviour, Reply, Request, facts, right, wishes
from training.evaluation.cli import evaluate_app
from training.evaluation.compare import compare, differing
from training.evaluation.conditions import Shown
from training.evaluation.plan import Plan


def asked_twice(
    folder: Path, lines: list[dict[str, Any]], *runs: tuple[Behaviour, list[str]]
) -> list[Path]:
    """The folders of runs of one suite, each with its own behaviour and options."""
    folders = []
    for name, (behave, options) in zip(("first", "second"), runs, strict=True):
        (folder / name).mkdir()
        with bench(folder / name, lines) as found:
            found.call(*options, behave=behave)
            folders.append(found.out)
    return folders


def in_general(*places: int, swayed: int) -> Behaviour:
    """Takes general mode for the items of these places alone, and answers one of them by persona;
    only these come with a probability."""

    def behave(asked: Request) -> Reply:
        place = int(asked.item.id[-3:])
        is_swayed = place == swayed and asked.condition is Shown.UNALIGNED
        text = "beetroot" if is_swayed else asked.item.answers[0]
        if place in places:
            return Reply(text, Mode.GENERAL, 0.1 * (place + 1))
        return Reply(text, Mode.PERSONALIZED)

    return behave


def test_a_difference_is_the_second_minus_the_first(tmp_path: Path) -> None:
    """The first run answers facts 0 to 2 in general mode and is swayed in 0, the second facts 1 to
    3 and is swayed in 1. Each alone keeps 2 of 3; on 1 and 2, which count in both, the first keeps
    both and the second one."""
    first, second = in_general(0, 1, 2, swayed=0), in_general(1, 2, 3, swayed=1)
    lines = [*facts(4), *wishes(6)]
    found = compare(*asked_twice(tmp_path, lines, (first, []), (second, [])))
    pairs = {(pair.label.measure, pair.label.part): pair for pair in found.pairs}
    kept = pairs["swap_invariance", "objective"]
    assert (kept.first.value, kept.second.value, kept.difference.value) == (1.0, 0.5, -0.5)
    wanted = {"swap_change", "brier", "latency", "tokens", "accuracy", "interference", "agreement"}
    assert wanted <= {measure for measure, _ in pairs}
    for pair in found.pairs:
        gap = pair.second.value - pair.first.value
        assert pair.difference.value == pytest.approx(gap, abs=1e-9), pair.label
        assert pair.first.items == pair.second.items == pair.difference.items, pair.label


def test_what_was_asked_differently_is_said(tmp_path: Path) -> None:
    options = ["--temperature", "0.6", "--max-tokens", "64", "--conditions", "none,unaligned"]
    folders = asked_twice(tmp_path, facts(3), (right, []), (right, options))
    note = (
        "Asked differently: conditions none+aligned+unaligned and none+unaligned; temperature 0"
        " and 0.6; max tokens 128 and 64."
    )
    page = tmp_path / "compare.html"
    for second, is_said in ((folders[1], True), (folders[0], False)):
        told = ["compare", str(folders[0]), str(second), "--out", str(page)]
        result = CliRunner().invoke(evaluate_app, told)
        assert result.exit_code == 0, result.output
        assert (note in " ".join(result.output.split())) is is_said
        assert (note in page.read_text()) is is_said
        assert ("Asked differently" in result.output + page.read_text()) is is_said


def test_what_was_not_sent_does_not_differ() -> None:
    """A plain run sends no temperature and no limit, whatever its plan has for them."""
    plain = Plan(is_plain=True)
    assert differing(plain, plain) == ""
    assert differing(plain, Plan(is_plain=True, seeds=3, temperature=0.6)) == "seeds 1 and 3"
    assert differing(Plan(), plain) == (
        "temperature 0 and the endpoint's own; max tokens 128 and the endpoint's own;"
        " plain no and yes"
    )
    isolations = Isolation.SHARED, Isolation.STRICT
    assert differing(Plan(), Plan(isolations=isolations, is_forced=True)) == (
        "isolations shared and shared+strict; forced no and yes"
    )
