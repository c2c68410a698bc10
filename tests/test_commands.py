"""The daily commands, over a real gateway, a real Redis and the fake engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from app.commands.ask import Heard, summary
from app.commands.lazy import PLACES
from app.serve.preflight import free_port
from app.serve.whereabouts import pocket_folder
from model.card import save_card
from model.pocket.build import pocket_card
from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import chat, put_persona
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer, wait_until

Run = Callable[..., Result]


@pytest.fixture
def run(gateway: Gateway) -> Run:
    """One command against the gateway, in this process."""

    def one(*arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        env = {"PERSONADUAL_URL": gateway.url, "COLUMNS": "200", **environment}
        return CliRunner().invoke(app, list(arguments), input=stdin, env=env)

    return one


@pytest.mark.parametrize("name", PLACES)
def test_the_list_says_of_a_command_what_it_says_itself(name: str) -> None:
    """The list must not import the modules, so it has these lines of its own."""
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    assert PLACES[name].help.removesuffix(".") in shown


def test_help_loads_nothing_of_a_gateway() -> None:
    """It answers at once."""
    code = (
        "import sys; from app.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'fastapi', 'redis', 'aiohttp', 'app.settings', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "persona" in out.stdout
    assert out.stdout.splitlines()[-1] == "[]"


def test_ask_streams_the_answer_and_tells_of_the_decision(
    gateway: Gateway, run: Run, script: Script
) -> None:
    """The answer on standard output alone, so that it can be piped; one line on the other."""
    script.answer = "Because.\n\n<answer>A stew.</answer>"
    script.logprobs = (-2.0, -1.0)
    put_persona(gateway.url, "ada", "Ada is vegan.")
    done = run("ask", "What now?", "--user", "ada", "--threshold", "0.5", "--isolation", "strict")
    assert (done.exit_code, done.stdout) == (0, "A stew.\n")
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("personalized · p(personalized) 0.731 · by threshold · persona ada v1")
    assert "applied · first text" in line
    done = run("ask", "-", "--mode", "general", "--user", "ada", "--json", stdin=b"From a pipe?")
    said = json.loads(done.stdout)
    assert (said["answer"], said["reasoning"], said["mode"]) == ("A stew.", "Because.", "general")
    assert said["persona"] == {"id": "ada", "version": 1, "status": "applied"}
    assert said["first_text_s"] <= said["seconds"]
    assert sent(script)["messages"][-1]["content"] == "From a pipe?"


def test_ask_sets_reasoning_and_answer_apart(run: Run, script: Script) -> None:
    """On a terminal both streams are one text; the answer alone stays what can be piped."""
    script.answer = "She is vegan.\n\n<answer>A stew.</answer>"
    done = run("ask", "x", "--reasoning")
    assert done.stdout == "A stew.\n"
    assert done.output.startswith("She is vegan.\nA stew.\n")
    assert run("ask", "x").output.startswith("A stew.\n")


def test_ask_shows_no_terminal_sequence_of_a_model(run: Run, script: Script) -> None:
    script.answer = "<answer>red \x1b[31m and [bold]plain[/bold]</answer>"
    assert run("ask", "x").stdout == "red [31m and [bold]plain[/bold]\n"


def test_the_line_about_an_answer_without_tag() -> None:
    heard = Heard(decision={"mode": None, "persona": {"status": "absent"}}, finish_reason="length")
    assert "no mode" in summary(heard)
    assert "cut at" in summary(heard)


def test_failures_are_one_line_and_an_exit_code(run: Run, script: Script, fake: FakeEngine) -> None:
    """1 refused, 2 wrong usage, 3 nobody there; each says what to do."""
    away = f"http://127.0.0.1:{free_port()}"
    for arguments, code, said in (
        (["ask", "x", "--url", away], 3, "start one (personadual serve)"),
        (["status", "--url", away], 3, "start one (personadual serve)"),
        (["ask", "x", "--url", "localhost"], 1, "give an address like http://"),
        (["ask", "x", "--url", "http://.:80"], 1, "give an address like http://"),
        (["ask", "x", "--key", "two words"], 1, "this is not an API key"),
        (["ask", "x", "--mode", "both"], 2, "is not one of"),
        (["ask", "x", "--model", "nope"], 1, "one of: pocket"),
        (["persona", "get", "nobody"], 1, "there is no persona with this id"),
        (["persona", "put", "a b", "x"], 1, "persona_id must be"),
        (["persona", "put", "ada", "x", "--attribute", "age"], 1, "NAME=VALUE"),
        (["persona", "list", "--url", fake.url], 1, "not a PersonaDual gateway"),
        (["persona", "import", "/nowhere/x.jsonl"], 1, "cannot be read"),
        (["persona", "import", "/"], 1, "cannot be read"),
        (["persona", "export", "/nowhere/x.jsonl"], 1, "cannot be written"),
    ):
        done = run(*arguments)
        assert (done.exit_code, said in done.stderr) == (code, True), (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    for arguments in (["ask", "-"], ["persona", "put", "ada", "-"]):
        done = run(*arguments, stdin=b"caf\xe9")
        assert (done.exit_code, done.stdout) == (1, "")
        assert "standard input is not UTF-8 text" in done.stderr


def test_an_answer_that_breaks_off_is_no_answer(run: Run, script: Script) -> None:
    """What has come is shown, and the exit code is not 0."""
    script.answer = "<answer>Cook a stew.</answer>"
    script.fail_after = 7
    broken = run("ask", "x")
    assert broken.exit_code == 1
    assert broken.stderr.strip().splitlines()[-1].startswith("personadual: ")


def test_a_key_that_is_missing_or_may_not(
    run: Run, gateway: Gateway, redis_server: RedisServer
) -> None:
    """The key comes by the environment, and stands in no message."""
    key = new_key(redis_server.url, roles=["chat"])
    wait_until(lambda: run("persona", "list").exit_code == 1, 2)
    assert "--key or PERSONADUAL_KEY" in run("persona", "list").stderr
    refused = run("persona", "list", PERSONADUAL_KEY=key)
    assert "does not have the role personas" in refused.stderr
    assert key not in refused.stderr
    assert run("ask", "x", PERSONADUAL_KEY=key).exit_code == 0


def test_status_is_one_screen(gateway: Gateway, run: Run, script: Script) -> None:
    for user, mode in (("ada", "personalized"), ("bob", "general"), ("cy", "general")):
        chat(gateway.url, user=user, personadual={"mode": mode})
    chat(gateway.url)
    done = run("status")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert rows[0][:2] == [gateway.url, "ready"]
    for row in (["✓", "redis", "ok"], ["✓", "gate", "ok"], ["✓", "engine", "model", "pocket"]):
        assert row in rows
    shares = {row[0]: row[-2:] for row in rows if row[0] in ("general", "personalized")}
    assert shares == {"general": ["75.0%", "3"], "personalized": ["25.0%", "1"]}
    assert any(row[:2] == ["whole", "answer,"] for row in rows)
    assert len(done.stdout.splitlines()) <= 24
    said = json.loads(run("status", "--json").stdout)
    assert (said["sources"], said["asks_keys"]) == ({"request": 3.0, "model": 1.0}, False)


def test_status_of_what_is_not_ready(
    run: Run, redis_server: RedisServer, script: Script, gateway: Gateway
) -> None:
    """It is shown all the same, with its reason; the exit code is 1."""
    new_key(redis_server.url)
    wait_until(lambda: json.loads(run("status", "--json").stdout)["asks_keys"], 2)
    redis_server.stop()
    try:
        done = run("status")
        assert (done.exit_code, "not ready" in done.stdout) == (1, True)
        assert "the store does not answer" in done.stdout
    finally:
        redis_server.start()


def doctored(run: Run, data: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    done = run("doctor", "--json", "--data", str(data), *arguments, **environment)
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.exit_code == int(any(each["is_wrong"] for each in found.values()))
    return found


def test_doctor_finds_nothing_where_all_is_well(
    gateway: Gateway, run: Run, fake: FakeEngine, redis_server: RedisServer, tmp_path: Path
) -> None:
    urls = {"PERSONADUAL_REDIS_URL": redis_server.url, "PERSONADUAL_ENGINE_URL": fake.url}
    found = doctored(run, tmp_path, **urls)
    assert found["gateway"]["says"] == f"ready at {gateway.url}"
    assert "with the gate" in found["engine"]["says"]
    for name in ("python", "disk", "settings", "gateway", "redis", "engine"):
        assert not found[name]["is_wrong"], found[name]


def test_doctor_says_what_to_fix(
    run: Run, script: Script, fake: FakeEngine, tmp_path: Path
) -> None:
    """Each check on its own: what one finds wrong, the others do not hide."""
    away = f"127.0.0.1:{free_port()}"
    (tmp_path / "personadual.json").write_text("{")
    script.has_gate = False
    urls = {"PERSONADUAL_REDIS_URL": f"redis://{away}", "PERSONADUAL_ENGINE_URL": fake.url}
    found = doctored(run, tmp_path, "--model", str(tmp_path), **urls)
    assert "start it, fix the URL" in found["redis"]["says"]
    assert "--logits-processors model.gate:ModeGate" in found["engine"]["says"]
    assert "personadual.json" in found["card"]["says"]
    assert all(found[name]["is_wrong"] for name in ("redis", "engine", "card"))
    found = doctored(run, tmp_path, PERSONADUAL_THRESHOLD="9")
    assert found["settings"]["says"].startswith("PERSONADUAL_THRESHOLD: ")
    urls = {"PERSONADUAL_ENGINE_URL": f"http://{away}", "PERSONADUAL_URL": f"http://{away}"}
    found = doctored(run, tmp_path, **urls)
    assert "is free" in found["port"]["says"]
    assert "no engine answers" in found["engine"]["says"]


def test_doctor_asks_for_the_room_in_which_pocket_is_built(run: Run, tmp_path: Path) -> None:
    """Until it is built, and not where another checkpoint is served."""
    assert "1.5 needed" in doctored(run, tmp_path)["disk"]["says"]
    assert "0.3 needed" in doctored(run, tmp_path, "--model", str(tmp_path))["disk"]["says"]
    folder = pocket_folder(tmp_path)
    folder.mkdir(parents=True)
    save_card(pocket_card(), folder)
    assert "0.3 needed" in doctored(run, tmp_path)["disk"]["says"]


def test_doctor_names_a_misspelt_setting(run: Run, tmp_path: Path) -> None:
    """It would be served without; the commands' own variables are none."""
    env = {"PERSONADUAL_ISOLATON": "strict", "PERSONADUAL_KEY": "pd-x-y"}
    found = doctored(run, tmp_path, **env)["settings"]
    said = "PERSONADUAL_ISOLATON is not a setting; did you mean PERSONADUAL_ISOLATION?"
    assert (found["says"], found["is_note"]) == (said, True)


def test_doctor_tells_a_stranger_at_the_port(run: Run, fake: FakeEngine, tmp_path: Path) -> None:
    """Something listens there, and it is no gateway."""
    found = doctored(run, tmp_path, PERSONADUAL_URL=fake.url)
    assert "not a PersonaDual gateway" in found["gateway"]["says"]
