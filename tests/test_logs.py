"""Logs: every line of a gateway is JSON that says which request it belongs to, and no more."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from app.access import audit
from app.access.keys import Role
from app.logs import formatter, request_id, trace_id
from app.serve.gateway import Listen, gateway_command
from app.serve.preflight import free_port
from app.serve.probes import answers
from app.settings import LogFormat
from model.errors import EngineRejected
from testbed.fake_engine import FakeEngine, Script
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import RedisServer, Starter, wait_until
from tests.gateway_process import GatewayProcess

SECRET = "okapi-persona"


def rendered(form: LogFormat, *arguments: Any, name: str = "personadual.x", **fields: Any) -> str:
    """What a record becomes."""
    error = fields.pop("exc_info", None)
    record = logging.LogRecord(name, logging.ERROR, "x.py", 1, "it %s", arguments or ("is",), error)
    vars(record).update(fields)
    return formatter(form).format(record)


def failure(error: Exception, cause: Exception | None = None) -> Any:
    """A raised exception, in frames whose variables hold a secret."""
    hidden = SECRET
    try:
        try:
            if cause is not None:
                raise cause
        except Exception as first:
            raise error from first
        raise error
    except type(error):
        assert hidden
        return sys.exc_info()


@pytest.fixture
def process(
    redis_server: RedisServer, redis: Any, fake: FakeEngine, script: Script, tmp_path: Path
) -> Iterator[GatewayProcess]:
    started = GatewayProcess(tmp_path / "log", engine_url=fake.url, redis_url=redis_server.url)
    yield started
    started.end()


def lines_of(process: GatewayProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.said.splitlines()]


def test_every_line_of_a_gateway_is_json(
    process: GatewayProcess, script: Script, redis_server: RedisServer
) -> None:
    """From its start to its end: uvicorn's lines, ours, the audit log; none holds a text."""
    process.wait_ready()
    admin = new_key(redis_server.url, roles=(Role.ADMIN, Role.CHAT))
    held = bearer(admin)
    assert call(process.url, "/v1/keys", headers=held).status == 200
    # What no handler expects: an answer whose parts are of the wrong kinds.
    script.garbage = b'{"choices": [{"message": 5}]}'
    chat(process.url, SECRET, key=admin)
    process.end()
    lines = lines_of(process)
    assert {"time", "level", "logger", "event"} <= set.intersection(*map(set, lines))
    events = [line["event"] for line in lines]
    assert any("Started server process" in event for event in events)
    assert any("Finished server process" in event for event in events)
    assert {"uvicorn.error", "personadual.gateway"} <= {line["logger"] for line in lines}
    asked = [line for line in lines if "POST /v1/chat/completions" in line["event"]]
    assert asked[0]["request_id"].startswith("req-")
    (listed,) = [line for line in lines if line["event"] == "audit"]
    assert (listed["action"], listed["by"]) == ("keys_listed", admin.split("-")[1])
    assert listed["request_id"].startswith("req-")
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo == UTC
    for secret in (SECRET, admin, admin.split("-", 2)[2]):
        assert secret not in process.said


def test_a_failure_names_its_request_and_its_trace(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What no handler expected: one line, with the id that the caller gave and its trace."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(LogFormat.JSON))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    gateway = start_gateway(fake.url)

    async def fail(request: Request) -> None:
        persona = (await request.json())["persona"]
        raise ValueError(persona)

    gateway.app.add_api_route("/v1/keys/fail", fail, methods=["PUT"])
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"x-request-id": "mine-7", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    logging.getLogger().addHandler(handler)
    try:
        path, body = "/v1/keys/fail", {"persona": SECRET}
        assert call(gateway.url, path, body, method="PUT", headers=headers).status == 500
    finally:
        logging.getLogger().removeHandler(handler)
    assert SECRET not in written.getvalue()
    lines = [json.loads(text) for text in written.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "a request failed"]
    assert (line["request_id"], line["trace_id"], line["level"]) == ("mine-7", trace, "error")
    (error,) = line["exception"]
    assert error["type"] == "ValueError"
    assert error["frames"][-1].endswith(" fail")


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        EngineRejected(400, {"message": SECRET}),
        ExceptionGroup(SECRET, [ValueError(SECRET), ExceptionGroup("x", [KeyError(SECRET)])]),
    ],
)
def test_an_exception_is_told_without_anybodys_words(form: LogFormat, error: Exception) -> None:
    """Neither its text, nor a variable, nor a note, nor that of what caused it."""
    error.add_note(SECRET)
    text = rendered(form, exc_info=failure(error, RuntimeError(SECRET)))
    assert SECRET not in text
    assert type(error).__name__ in text
    assert "RuntimeError" in text
    assert "test_logs.py" in text


def test_an_exception_is_fields() -> None:
    """A chain, the last first; the interpreter's own words stay, for they hold no values."""
    line = json.loads(
        rendered(LogFormat.JSON, exc_info=failure(TypeError("no len()"), KeyError(SECRET)))
    )
    last, first = line["exception"]
    assert (last["type"], last["text"]) == ("TypeError", "no len()")
    assert last["frames"][-1].endswith(" failure")
    assert (first["type"], "text" in first) == ("KeyError", False)


def test_asyncio_shows_no_result_of_a_task() -> None:
    said = f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>"
    assert SECRET not in rendered(LogFormat.JSON, said, name="asyncio")


def test_a_line_is_one_line_whatever_it_says() -> None:
    for said in ("a\nb\x1b[31m", "half a character: \ud800"):
        text = rendered(LogFormat.JSON, said)
        assert text.isprintable()
        assert json.loads(text)["event"] == f"it {said}"


def test_the_context_is_in_the_line() -> None:
    async def within() -> str:
        request_id.set("r-1")
        trace_id.set("t-1")
        return rendered(LogFormat.JSON)

    line = json.loads(asyncio.run(within()))
    assert (line["request_id"], line["trace_id"], line["event"]) == ("r-1", "t-1", "it is")
    assert "request_id" not in json.loads(rendered(LogFormat.JSON))


def test_console_is_for_readers() -> None:
    """Colours are for a terminal; what is none gets JSON unless it is told otherwise."""
    text = rendered(LogFormat.CONSOLE)
    assert "it is" in text
    assert "\x1b" not in text
    assert not text.startswith("{")
    assert json.loads(rendered(LogFormat.AUTO))["event"] == "it is"


def test_the_audit_log_keeps_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers of an operator's own see the JSON text that it always was."""
    caplog.set_level(logging.INFO, "personadual.audit")
    audit.record("key_created", "id-1", key="id-2")
    (record,) = caplog.records
    said = {"event": "audit", "action": "key_created", "by": "id-1", "key": "id-2"}
    assert json.loads(record.getMessage()) == said
    assert said.items() <= json.loads(formatter(LogFormat.JSON).format(record)).items()


def test_the_parent_of_several_workers_writes_json_too(
    redis_server: RedisServer, fake: FakeEngine, script: Script, tmp_path: Path
) -> None:
    """It loads no application, so uvicorn is told by a file."""
    port = free_port()
    command, env = gateway_command(Listen("127.0.0.1", port, 2), tmp_path)
    own = {"PERSONADUAL_ENGINE_URL": fake.url, "PERSONADUAL_REDIS_URL": redis_server.url}
    log = tmp_path / "log"
    root = str(Path(__file__).parents[1])
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **env, **own, "PERSONADUAL_NOTICE_S": "0", "PYTHONPATH": root},
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/live"), 30)
    finally:
        process.terminate()
        process.wait(timeout=30)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert any("Started parent process" in event for event in events)
    assert sum("Started server process" in event for event in events) == 2
