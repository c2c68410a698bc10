"""An evaluation over HTTP: what is planted is found, failures count, a killed run goes on."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.mode import Mode
from tests.evaluation_bench import bench
from tests.simulated_endpoint import MODEL, Reply, Request, counted, facts, right, wishes
from training.evaluation.answers import ANSWERS, read_answers
from training.evaluation.cli import evaluate_app
from training.evaluation.conditions import Shown

AUTO = "auto/shared"


def planted(asked: Request) -> Reply:
    """Of 200 facts 10 are never known, and an unaligned persona breaks 24 others: 12 points."""
    place = int(asked.item.id.removeprefix("fact-"))
    is_broken = asked.condition is Shown.UNALIGNED and place % 8 == 1 and place < 192
    if place % 20 == 4 or is_broken:
        return Reply("beetroot", Mode.GENERAL, 0.2)
    return right(asked)


def test_a_planted_interference_of_12_points_is_found(tmp_path: Path) -> None:
    """190 of 200 right without a persona, 166 with the unaligned one: 24 lost, none won."""
    with bench(tmp_path, facts(200)) as found:
        said = found.call(behave=planted)
        row = found.row("interference", AUTO, "objective", "exact")
        value = row["estimate"]
        assert value["value"] == pytest.approx(0.12)
        assert 0.07 < value["low"] < 0.12 < value["high"] < 0.18
        assert (value["items"], value["answers"]) == (200, 400)
        assert row["test"] == {"better": 24, "worse": 0, "p_value": pytest.approx(2 / 2**24)}
        assert "costs sim 12.0 points of accuracy" in said
        assert ", p < 0.0001)" in said
        assert '<strong class="bad">+12.0' in found.page
        assert found.value("benefit", AUTO, "objective", "exact") == 0.0
        assert len(found.report["worst"]) == 20


def test_no_interference_is_not_called_one(tmp_path: Path) -> None:
    """Without any loss the interval is still not a point: 60 items cannot exclude 5 points."""
    with bench(tmp_path, facts(60)) as found:
        assert "Interference in sim cannot be told from none: 0.0 points" in found.call(
            behave=right
        )
        value = found.row("interference", AUTO, "objective", "exact")["estimate"]
        assert -0.07 < value["low"] < 0 < value["high"] < 0.07
        assert 'class="calm"' in found.page


def test_four_lost_and_none_won_are_no_proof(tmp_path: Path) -> None:
    """Of 101: the exact test has 1/8."""

    def loses_four(asked: Request) -> Reply:
        place = int(asked.item.id.removeprefix("fact-"))
        is_lost = asked.condition is Shown.UNALIGNED and place < 4
        return Reply("beetroot", Mode.GENERAL) if is_lost else right(asked)

    with bench(tmp_path, facts(101)) as found:
        said = found.call(behave=loses_four)
        assert "cannot be told from none: 4.0 points" in said
        assert ", p 0.1250)" in said
        assert found.report["headline"]["sign"] == 0


def test_failures_count_as_wrong_and_are_shown(tmp_path: Path) -> None:
    """A quarter each: status 500, a hang, no completion, and a right answer."""

    def fails(asked: Request) -> Reply:
        place = int(asked.item.id.removeprefix("fact-")) % 4
        return [
            Reply(status=500),
            Reply(wait_s=30.0),
            Reply(raw="{}" if asked.condition is Shown.NONE else "[nonsense"),
            right(asked),
        ][place]

    with bench(tmp_path, facts(8)) as found:
        begun = time.monotonic()
        said = found.call("--timeout", "1", behave=fails)
        assert time.monotonic() - begun < 15
        assert found.report["failures"] == {
            "status 500": 6,
            "timeout": 6,
            "no chat completion": 6,
        }
        assert "18 of 24 answers failed (75.0%)" in said
        assert "18 of 24 answers failed" in found.page
        assert "timeout" in found.page
        assert re.search(r"6 answers; 75\.0% \([^)]*\) of all came without one", found.page)
        accuracy = found.row("accuracy", AUTO, "none", "exact")["estimate"]
        assert accuracy["value"] == 0.25
        assert accuracy["answers"] == 8
        for measure, value in (("valid_format", 0.25), ("agreement", 0.25), ("failed", 0.75)):
            assert found.value(measure, AUTO, "all") == value
        # What failed is not asked again, unless it is asked for.
        found.call("--timeout", "1", behave=right)
        assert not found.served.seen
        found.call("--timeout", "1", "--retry-failed", behave=right)
        assert len(found.served.seen) == 18
        assert found.report["failures"] == {}
        assert found.value("accuracy", AUTO, "none", "exact") == 1.0


def test_retries_reach_an_endpoint_that_comes_back(tmp_path: Path) -> None:
    tried: dict[object, int] = {}

    def comes_back(asked: Request) -> Reply:
        name = asked.item.id, asked.condition
        tried[name] = tried.get(name, 0) + 1
        return right(asked) if tried[name] > 1 else Reply(status=503)

    with bench(tmp_path, facts(2)) as found:
        found.call("--retries", "2", behave=comes_back)
        assert found.report["failures"] == {}
        assert set(tried.values()) == {2}


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """Killed for real, and its last line cut in half: nothing is lost, nothing is asked twice."""
    with bench(tmp_path, facts(40)) as found:
        found.served.behave = lambda asked: replace(right(asked), wait_s=0.05)
        command = [sys.executable, "-c", "from app.cli import main; main()", "evaluate"]
        where = ["--url", found.served.url, "--model", MODEL, "--suite", str(found.suite)]
        process = subprocess.Popen(
            [*command, *where, "--out", str(found.out), "--concurrency", "2"],
            stdout=subprocess.DEVNULL,
        )
        path = found.out / ANSWERS
        deadline = time.monotonic() + 60
        while not path.exists() or path.read_bytes().count(b"\n") < 10:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 30])
        known = {answer.key for answer in read_answers(found.out)}
        assert 9 <= len(known) < 120
        found.call(behave=right)
        assert len(found.served.seen) == 120 - len(known)
        assert len(read_answers(found.out)) == found.report["answered"] == 120


def test_a_run_is_measured_again_without_an_endpoint(tmp_path: Path) -> None:
    """By today's measures, from its answers; of another suite than it was asked it is not."""
    with bench(tmp_path, facts(20)) as found:
        found.call(behave=planted)
        before = found.report
        (found.out / "report.json").unlink()
    again = CliRunner().invoke(evaluate_app, ["report", str(found.out)])
    assert again.exit_code == 0, again.output
    assert found.report["rows"] == before["rows"]
    assert found.report["expected"] == before["expected"] == 60
    answers = (found.out / ANSWERS).read_text()
    (found.out / ANSWERS).write_text("")  # a run that was stopped before its first answer
    empty = CliRunner().invoke(evaluate_app, ["report", str(found.out)])
    assert (empty.exit_code, "nothing was answered yet" in empty.output) == (1, True)
    (found.out / ANSWERS).write_text(answers)
    found.suite.write_text(found.suite.read_text().replace("Counts", "Adds"))
    refused = CliRunner().invoke(evaluate_app, ["report", str(found.out)])
    assert refused.exit_code == 1
    assert "its content differs" in " ".join(refused.output.split())


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with bench(tmp_path, facts(3)) as found:
        found.call()
        said = found.call("--seeds", "2", status=1)
        assert "seeds was 1, is 2; temperature was 0.0, is 0.6" in said
        found.suite.write_text(found.suite.read_text().replace("Counts", "Adds"))
        assert "suite_sha256 was" in found.call(status=1)


def test_every_way_is_asked_and_no_more(tmp_path: Path) -> None:
    """Four facts and two wishes, five conditions and ways; nothing is isolated without persona."""
    with bench(tmp_path, [*facts(4), *wishes(2)]) as found:
        found.call(
            *("--conditions", "none,aligned,unaligned,injected", "--forced"),
            *("--isolation", "shared,strict"),
        )
        assert counted(found.served.seen) == {
            (Shown.NONE, None): 6,
            (Shown.NONE, Mode.GENERAL): 6,
            (Shown.INJECTED, None): 8,
            **{(Shown.INJECTED, mode): 4 for mode in Mode},
            **{(shown, None): 12 for shown in (Shown.ALIGNED, Shown.UNALIGNED)},
            **{(shown, mode): 6 for shown in (Shown.ALIGNED, Shown.UNALIGNED) for mode in Mode},
        }
        body = next(b for b in found.served.bodies if b["personadual"].get("persona"))
        assert body["messages"] == [{"role": "user", "content": body["messages"][0]["content"]}]
        assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 0, 128)
        alone = next(b for b in found.served.bodies if "persona" not in b["personadual"])
        assert alone["personadual"]["persona_id"] is None
        for text in ("beetroot", "Eats no animals", "professor"):
            assert text not in (found.out / ANSWERS).read_text()


def test_an_endpoint_without_modes_is_read_leniently(tmp_path: Path) -> None:
    """A base model answers in sentences; the persona stands in its system message."""

    def talks(asked: Request) -> Reply:
        return Reply(f"Well, the answer would be {asked.item.answers[0]}, I think.")

    with bench(tmp_path, facts(10)) as found:
        found.served.has_modes = False
        said = found.call("--forced", "--isolation", "shared,strict", behave=talks)
        assert "has no modes" in said
        assert set(counted(found.served.seen).values()) == {10}
        assert "personadual" not in found.served.bodies[0]
        assert found.value("accuracy", AUTO, "none", "exact") == 0.0
        assert found.value("accuracy", AUTO, "none", "lenient") == 1.0
        measured = {row["label"]["measure"] for row in found.report["rows"]}
        assert not measured & {"valid_format", "agreement"}, "it has no tags to forget"
        assert found.report["headline"]["reading"] == "lenient"
        assert "Where the readings differ" in found.page


def test_a_raw_checkpoint_is_read_by_its_grammar(tmp_path: Path) -> None:
    def tagged(asked: Request) -> Reply:
        return Reply(f"[General_mode]\nIt is a sum.\n\n<answer>{asked.item.answers[0]}</answer>")

    with bench(tmp_path, facts(4)) as found:
        found.served.has_modes = False
        found.call(behave=tagged)
        assert found.value("accuracy", AUTO, "none", "exact") == 1.0
        assert found.value("valid_format", AUTO, "all") == 1.0
        assert {answer.mode for answer in read_answers(found.out)} == {Mode.GENERAL}


def test_what_cannot_be_asked_is_said_before_anything_is(tmp_path: Path) -> None:
    with bench(tmp_path, facts(1)) as found:
        assert "has no model other" in found.call("--model", "other", status=1)
        assert "does not answer" in found.call("--url", "http://127.0.0.1:9", status=1)
        assert "is not a URL" in found.call("--url", "localhost:8080", status=1)
        assert "choose from none" in found.call("--conditions", "none,odd", status=2)
        assert not found.served.seen


def test_seeds_are_asked_at_a_temperature_and_counted_by_item(tmp_path: Path) -> None:
    """One of two seeds right: accuracy one half, on 6 items with 12 answers."""

    def wavers(asked: Request) -> Reply:
        return right(asked) if asked.seed else Reply("beetroot", Mode.GENERAL)

    with bench(tmp_path, facts(6)) as found:
        found.call("--seeds", "2", behave=wavers)
        assert {body["temperature"] for body in found.served.bodies} == {0.6}
        row = found.row("accuracy", AUTO, "none", "exact")["estimate"]
        assert (row["value"], row["items"], row["answers"]) == (0.5, 6, 12)


def test_a_service_that_was_started_again_may_have_another_port(tmp_path: Path) -> None:
    """The run goes on there: nothing is asked twice."""
    with bench(tmp_path, facts(3)) as found:
        found.call(behave=right)
    with bench(tmp_path, facts(3)) as again:
        again.call(behave=right)
        assert not again.served.seen
