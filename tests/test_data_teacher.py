"""The teacher's bad days, the journal, and builds that are ended and go on."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from model.mode import Tags
from tests import scripted_teacher
from tests.conftest import wait_until
from tests.paper_sources import recipe, write_sources
from tests.scripted_teacher import Script, ScriptedTeacher
from training.data.journal import Journal
from training.data.prompts import Prompts, Unusable, persona_wish, read_persona
from training.data.recipe import TeacherSettings
from training.data.sources import Question
from training.data.teacher import Dropped, Teacher, TeacherFailed
from training.items import Kind, Trace

QUESTION = Question("q-1", "q", "t", "e", Kind.OBJECTIVE, "Which one?\nA. x\nB. y", "B", "mcq")
PROMPTS = Prompts(max_words=20, tags=Tags())
COMMAND = "from training.data.cli import data_app; data_app()"
# The teacher of these builds is wrong about some questions.
CLI = [sys.executable, "-c", COMMAND, "build", "--allow-short"]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedTeacher]:
    yield from scripted_teacher.running()


@pytest.fixture
def script(server: ScriptedTeacher) -> Script:
    server.script = Script()
    return server.script


def use(
    server: ScriptedTeacher, path: Path, what: Callable[[Teacher], Awaitable[Any]], **options: Any
) -> Any:
    """Do something with a teacher and its journal, in one run."""

    async def run() -> Any:
        settings = TeacherSettings(
            url=server.url, model="scripted", **{"retries": 1, "timeout_s": 0.3, **options}
        )
        with Journal(path / "journal.jsonl", again=options.get("give_up_after") == 1) as journal:
            async with Teacher(settings, "key", journal) as teacher:
                return await what(teacher)

    return asyncio.run(run())


async def ask(teacher: Teacher) -> Trace:
    return await teacher.ask(PROMPTS.general(QUESTION))


async def reason(teacher: Teacher) -> str:
    with pytest.raises(Dropped) as dropped:
        await ask(teacher)
    return str(dropped.value)


def test_equal_questions_at_once_are_one_request(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    async def all_at_once(teacher: Teacher) -> list[Trace]:
        return await asyncio.gather(*(ask(teacher) for _ in range(5)))

    assert [trace.answer for trace in use(server, tmp_path, all_at_once)] == ["B"] * 5
    assert len(script.asked) == 1
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("trouble", [500, 503, 429, 2.0])
def test_what_passes_is_retried_by_the_client(
    server: ScriptedTeacher, script: Script, tmp_path: Path, trouble: int | float
) -> None:
    script.trouble = {"Which one?": [trouble]}
    assert use(server, tmp_path, ask).answer == "B"
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (500, "server error"),
        (429, "overloaded"),
        (2.0, "timed out"),
        (400, "refused"),
        ("not json", "no chat completion"),
        ("no choices", "no chat completion"),
        (" ", "empty"),
        ("cut off", "cut off"),
        ("B, I guess.", "no <answer> after the reasoning"),
        ("<answer>B</answer>", "no <answer> after the reasoning"),
        ("So.\n\n<answer>B", "no <answer> after the reasoning"),
        ("So.\n\n<answer>A</answer>", "contradicts the key"),
        ("So [General_mode] it is.\n\n<answer>B</answer>", "a marker within the text"),
        ("long " * 41 + "\n\n<answer>B</answer>", "too long"),
        ("The answer key says so.\n\n<answer>B</answer>", "mentions the key"),
    ],
)
def test_what_stays_is_dropped_with_its_reason(
    server: ScriptedTeacher, script: Script, tmp_path: Path, trouble: int | float | str, said: str
) -> None:
    script.always = trouble
    assert use(server, tmp_path, reason) == said
    assert len(script.asked) <= 3


def test_nonsense_is_asked_for_again_in_other_words(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    """At temperature 0 the same request would bring the same reply."""
    script.trouble = {"Which one?": ["Hm.", "Well."]}
    assert use(server, tmp_path, ask).answer == "B"
    assert len(set(script.asked)) == 3


@pytest.mark.parametrize(("trouble", "said"), [(500, "server error"), (400, "refused")])
def test_a_teacher_that_fails_again_and_again_ends_the_build_and_is_asked_again_later(
    server: ScriptedTeacher, script: Script, tmp_path: Path, trouble: int, said: str
) -> None:
    async def many(teacher: Teacher) -> list[str]:
        script.always = None
        await teacher.ask(persona_wish("What was before the outage?"))
        script.always = trouble
        return [await reason(teacher) for _number in range(3)]

    with pytest.raises(TeacherFailed, match=f"3 times in a row .{said}"):
        use(server, tmp_path, many, give_up_after=3, retries=0)
    assert len(script.asked) == 4
    assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == 1
    script.always = None
    assert use(server, tmp_path, ask).answer == "B"


def test_a_teacher_that_takes_neither_temperature_nor_max_tokens_gets_none(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    """As reasoning models do. What ends the first build names the settings that mend the next."""
    script.refuses = frozenset({"temperature", "max_tokens"})
    with pytest.raises(TeacherFailed, match=r'refused.*max_tokens and temperature.*"none"'):
        use(server, tmp_path, ask, give_up_after=1)
    left_out = {"temperature": "none", "max_tokens": "none"}
    extra = {"max_completion_tokens": 900}
    assert use(server, tmp_path, ask, **left_out, extra=extra).answer == "B"
    assert set(script.bodies[-1]) == {"model", "messages", "max_completion_tokens"}
    with pytest.raises(ValueError, match="less than or equal to 2"):
        TeacherSettings(url=server.url, model="scripted", temperature=3)


def test_an_older_journal_is_read_on(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    """Its keys stand for requests in this form."""
    use(server, tmp_path, ask)
    request = {
        "model": "scripted",
        "messages": script.bodies[-1]["messages"],
        "temperature": 0.0,
        "max_tokens": 2048,
        "extra_body": None,
    }
    text = json.dumps(request, sort_keys=True)
    (line,) = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert json.loads(line)["key"] == blake2b(text.encode(), digest_size=16).hexdigest()


def test_a_build_that_is_stopped_in_an_outage_keeps_none_of_its_failures(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    async def stopped(teacher: Teacher) -> None:
        await teacher.ask(persona_wish("What was before the outage?"))
        script.always = 503
        await reason(teacher)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use(server, tmp_path, stopped, retries=0)
    script.always = None
    assert use(server, tmp_path, ask).answer == "B"


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "api_key_env"), (402, "no balance"), (403, "api_key_env"), (404, "api_key_env")],
)
def test_what_no_request_can_mend_ends_the_build_at_once(
    server: ScriptedTeacher, script: Script, tmp_path: Path, status: int, said: str
) -> None:
    script.always = status
    with pytest.raises(TeacherFailed, match=f"answered {status} to model scripted: .*{said}"):
        use(server, tmp_path, ask)
    assert len(script.asked) == 1
    assert not (tmp_path / "journal.jsonl").read_bytes()


def test_a_teacher_that_drips_is_held_to_the_limit(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    """Between two bytes it is never late."""
    script.always = "drip"
    begun = time.monotonic()
    assert use(server, tmp_path, reason, timeout_s=1, retries=0) == "timed out"
    assert time.monotonic() - begun < 3


def test_an_answered_question_is_not_asked_again_and_a_failed_one_on_request(
    server: ScriptedTeacher, script: Script, tmp_path: Path
) -> None:
    async def both(teacher: Teacher) -> tuple[str, str]:
        script.always = 400
        said = await reason(teacher)
        script.always = None
        persona = await teacher.ask(persona_wish(QUESTION.text))
        return said, persona

    assert use(server, tmp_path, both) == ("refused", "a patient teacher of this very subject")
    count = len(script.asked)
    assert use(server, tmp_path, both)[0] == "refused"
    assert len(script.asked) == count
    # `give_up_after=1` stands for --again here.
    assert use(server, tmp_path, ask, give_up_after=1).answer == "B"
    assert len(script.asked) == count + 1


def test_personas_and_thoughts(server: ScriptedTeacher) -> None:
    assert read_persona("<think>An x?</think>Well: <persona>\nI am a cook.\n</persona>") == "a cook"
    for text in ("a cook", "<persona></persona>", f"<persona>{'so ' * 61}</persona>"):
        with pytest.raises(Unusable):
            read_persona(text)
    wish = PROMPTS.general(QUESTION)
    thought = "<think>A? <answer>A</answer></think>\n\nIt is y.\n\n<answer>(B) y</answer>"
    assert wish.read(thought) == Trace("It is y.", "B")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_ended_goes_on_and_asks_nothing_twice(
    server: ScriptedTeacher, script: Script, tmp_path: Path, number: signal.Signals
) -> None:
    script.keys = {"drug number": "B", "Go climbing": "A"}
    write_sources(tmp_path)
    path = recipe(tmp_path, server.url, teacher="concurrency = 4")
    script.always = 0.1
    process = subprocess.Popen(
        [*CLI, str(path)],
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a shell has Ctrl-C ignored, by inheritance.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: len(script.asked) > 15, 60)
    process.send_signal(number)
    _out, said = process.communicate(timeout=30)
    assert process.returncode == (130 if number is signal.SIGINT else -9)
    assert ("stopped; the journal keeps" in said) == (number is signal.SIGINT)
    journal = tmp_path / "out" / "journal.jsonl"
    answered = len(journal.read_bytes().splitlines())
    first, script.asked = len(script.asked), []
    assert 0 < answered <= first
    script.always = None
    done = subprocess.run([*CLI, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # Only what was under way when it ended is asked for again.
    assert len(journal.read_bytes().splitlines()) == answered + len(script.asked)
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    assert len({line["key"] for line in lines}) == len(lines)
    names = ("items.jsonl", "rl-items.jsonl", "sft-train.parquet", "rl-train.parquet", "BUILD.md")
    files = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    script.asked = []
    subprocess.run([*CLI, str(path)], capture_output=True, check=True, timeout=60)
    assert not script.asked
    assert files == {name: (tmp_path / "out" / name).read_bytes() for name in names}
    for hidden in ("climber", "bees", "patient teacher"):
        assert hidden not in done.stdout + done.stderr + said
