"""Own answers: what is said to nobody in general mode becomes the trace, or is left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from model.mode import Mode
from testbed.fake_engine import FakeEngine, Script
from tests import scripted_teacher
from tests.conftest import Gateway, Starter, wait_until
from tests.scripted_teacher import ScriptedTeacher
from training.data.cli import data_app
from training.items import Item, Kind, Trace, load_items, save_items

HELD_OUT = Path(__file__).parents[1] / "training" / "pocket" / "data" / "held_out.jsonl"
COMMAND = "from training.data.cli import data_app; data_app()"
PERSONAL_CHAT = (Kind.CHAT, Mode.PERSONALIZED)
IN, OUT = "items.jsonl", "own.jsonl"
SAID = "It asks for a sum.\n\n<answer>{}</answer>"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedTeacher]:
    yield from scripted_teacher.running()


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """One of each kind, a fact first; the chat turn asks for general mode, as the fact does."""
    whole = [item for item in load_items(HELD_OUT) if (item.kind, item.mode) != PERSONAL_CHAT]
    found = [next(item for item in whole if item.kind is kind) for kind in Kind]
    save_items(found, tmp_path / IN)
    return found


def ask(url: str, folder: Path, *options: str, model: str = "pocket", out: str = OUT) -> Result:
    files = [str(folder / name) for name in (IN, out)]
    return CliRunner().invoke(data_app, ["own-answers", url, model, *files, *options])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "both"])
def test_the_general_trace_is_what_was_said(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    items: list[Item],
    tmp_path: Path,
    field: str,
) -> None:
    """To nobody, in general mode however sure the model is of the other, greedily. Right or wrong:
    a fact keeps no trace that was right, the others keep that of their persona."""
    script.logprobs = (-9.0, -0.1)
    script.answer_to = lambda body: SAID.format(len(body["messages"][-1]["content"]))
    gateway = start_gateway(fake.url, reasoning_field=field)
    done = ask(gateway.url, tmp_path)
    assert done.exit_code == 0, done.output
    assert "3 items" in done.output
    for item, own in zip(items, load_items(tmp_path / OUT), strict=True):
        trace = Trace("It asks for a sum.", str(len(item.question)))
        kept = {} if item.kind is Kind.OBJECTIVE else item.traces
        assert own == replace(item, traces={**kept, Mode.GENERAL: trace})
    for body in script.seen:
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert body["temperature"] == 0
    before = len(script.seen)
    assert ask(gateway.url, tmp_path).exit_code == 0
    assert len(script.seen) == before, "what the journal knows was asked again"


def test_a_run_that_was_stopped_goes_on(gateway: Gateway, script: Script, tmp_path: Path) -> None:
    """What was answered before a kill is not asked again, nor is a question that stands twice."""
    items = load_items(HELD_OUT)[:12]
    save_items([*items, *(replace(item, id=f"{item.id}-again") for item in items)], tmp_path / IN)
    script.answer_to = lambda _body: SAID.format("So.")
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", COMMAND, "own-answers", gateway.url, "pocket"),
            *map(str, (tmp_path / IN, tmp_path / OUT)),
            *("--concurrency", "1"),
        ]
    )
    wait_until(lambda: len(script.seen) > 3 or running.poll() is not None, 60)
    running.kill()
    running.wait()
    journal = tmp_path / "own.journal.jsonl"
    kept = len(journal.read_text().splitlines())
    script.seen.clear()
    done = ask(gateway.url, tmp_path)
    assert f"24 items ({len(script.seen)} requests in this run)" in done.output
    assert kept + len(script.seen) in (12, 13), "the one that the kill met is asked again"
    assert len(journal.read_text().splitlines()) == 12


def test_what_sft_would_not_take_is_said_before_anything_is_asked(
    gateway: Gateway, script: Script, items: list[Item], tmp_path: Path
) -> None:
    script.seen.clear()
    fact, personal, chat = items
    for broken, said in (
        (replace(personal, traces={}), "line 2: traces.personalized: it asks for this mode"),
        (replace(fact, mode=Mode.PERSONALIZED, traces={}), "line 2: traces.personalized"),
        (replace(personal, personas={}), "line 2: personas.aligned"),
        (replace(fact, personas={}), "line 2: personas.aligned"),
    ):
        save_items([chat, broken], tmp_path / IN)
        done = ask(gateway.url, tmp_path)
        assert done.exit_code == 1
        assert said in done.output
    assert not script.seen
    # A fact that is to be answered by the persona keeps the trace for that.
    traces = {Mode.PERSONALIZED: Trace("As a chef.", "Hot.")}
    save_items([replace(fact, mode=Mode.PERSONALIZED, traces=traces)], tmp_path / IN)
    script.answer_to = lambda _body: SAID.format("So.")
    assert ask(gateway.url, tmp_path).exit_code == 0
    assert load_items(tmp_path / OUT)[0].traces.keys() == set(Mode)


def test_what_cannot_be_trained_is_left_out_and_counted(
    gateway: Gateway, script: Script, items: list[Item], tmp_path: Path
) -> None:
    """A reply that was cut, one that is empty, one that opens no answer."""
    replies = {
        items[0].question: SAID.format("many words " * 40),
        items[1].question: "It asks.\n\n<answer> </answer>",
        items[2].question: SAID.format("Hello."),
    }
    script.answer_to = lambda body: replies[body["messages"][-1]["content"]]
    done = ask(gateway.url, tmp_path, "--max-tokens", "40")
    assert done.exit_code == 0, done.output
    assert "2 left out (cut off: 1, empty: 1)" in done.output
    assert [item.id for item in load_items(tmp_path / OUT)] == [items[2].id]
    script.answer_to = lambda _body: "No reasoning."
    done = ask(gateway.url, tmp_path, "--max-tokens", "41")
    assert done.exit_code == 1
    assert "no reply can be used (no answer behind reasoning: 3)" in done.output
    assert "PERSONADUAL_REASONING_FIELD" in done.output


def test_what_cannot_be_asked_is_one_line(
    gateway: Gateway, server: ScriptedTeacher, items: list[Item], tmp_path: Path
) -> None:
    done = ask(gateway.url, tmp_path, model="other")
    assert done.exit_code == 1
    assert "answered 404 to model other-general: see URL, MODEL and --api-key" in done.output
    done = ask(server.url, tmp_path)  # a server that knows no modes, and does not mind the alias
    assert done.exit_code == 1
    assert "no answer behind reasoning: 3" in done.output
    done = ask("nowhere", tmp_path)
    assert done.exit_code == 2
    assert "must be an http or https address" in done.output
    done = ask(gateway.url, tmp_path, out=IN)
    assert done.exit_code == 2
    assert "holds the questions" in done.output
    (tmp_path / IN).write_text("{}\n")
    done = ask(gateway.url, tmp_path)
    assert done.exit_code == 1
    assert "items.jsonl, line 1" in done.output
