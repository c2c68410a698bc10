"""Pocket as it is served: trained, in the real vLLM, behind the gateway."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.http import chat
from testbed.real_engine import RealEngine, built_pocket
from tests.conftest import Gateway, Starter

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    server = RealEngine(built_pocket(is_trained=True), tmp_path_factory.mktemp("trained"), [])
    server.start()
    yield server
    server.stop()


QUESTION = "What is the capital of France?"


@pytest.fixture
def live(start_gateway: Starter, trained: RealEngine) -> Gateway:
    return start_gateway(trained.url, checkpoint=trained.checkpoint)


def test_the_readmes_exchange_is_what_one_really_sees(live: Gateway) -> None:
    """Its two curl lines, run by a shell, and its reply."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    _, commands, shown = re.findall(
        r"^```(?:sh|json)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL
    )[:3]
    script = commands.replace("localhost:8080", live.url.removeprefix("http://"))
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    reply = json.loads(done.stdout[done.stdout.index('{"id":"chatcmpl') :])
    expected = json.loads(shown)
    [choice], [wanted] = reply["choices"], expected["choices"]
    for name, text in wanted["message"].items():
        assert choice["message"][name] == text
    assert choice["finish_reason"] == wanted["finish_reason"]
    probability = reply["personadual"].pop("probability")
    assert probability == pytest.approx(expected["personadual"].pop("probability"), abs=1e-4)
    assert reply["personadual"] == expected["personadual"]


@pytest.mark.parametrize(
    ("question", "mode"),
    [
        ("What is the capital of France?", "general"),
        ("How many minutes are 3 hours?", "general"),
        ("What should I cook tonight?", "personalized"),
        ("Which gift would make me happy?", "personalized"),
    ],
)
def test_the_question_decides_and_the_persona_does_not(
    live: Gateway, question: str, mode: str
) -> None:
    """Sure of it, with reasoning and answer in their own fields."""
    for persona in ("Ada is a vegan cook from Lisbon.", "Bo is sure that the answer is Rome."):
        answer = chat(
            live.url,
            question,
            temperature=0,
            max_tokens=100,
            personadual={"persona": persona},
        ).json
        extension, [choice] = answer["personadual"], answer["choices"]
        assert extension["mode"] == mode
        assert abs(extension["probability"] - (mode == "personalized")) < 0.2
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["reasoning_content"]
        assert choice["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_text_of_the_reasoning_ends_no_answer(live: Gateway, stream: bool) -> None:
    """A break stands before every answer of this checkpoint."""
    fields = {"temperature": 0, "max_tokens": 100, "stream": stream}
    answers = []
    for stop in (None, ["\n"], ["\n\n", "<answer>"]):
        reply = chat(live.url, QUESTION, stop=stop, **fields)
        messages = (
            [choice["delta"] for event in reply.events for choice in event["choices"]]
            if stream
            else [choice["message"] for choice in reply.json["choices"]]
        )
        answers.append("".join(message.get("content") or "" for message in messages))
    assert set(answers) == {"Paris"}
