"""What stays between caller and engine, whatever goes wrong: persona text, messages, keys."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from app.logs import formatter
from app.settings import LogFormat
from testbed.fake_engine import FakeEngine, Script
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import RedisServer, Starter

PERSONA, QUESTION, ANSWER = "okapi-persona", "quokka-question", "numbat-answer"


def test_no_log_line_and_no_metric_tells_what_was_said(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the most talkative level: answers, refusals, a failing engine, then one that is away."""
    caplog.set_level(logging.DEBUG)
    gateway, away = start_gateway(fake.url), start_gateway("http://127.0.0.1:9")
    key = new_key(redis_server.url)
    held = {"headers": bearer(key)}

    def ask(url: str = gateway.url, **fields: Any) -> int:
        return chat(url, QUESTION, key=key, user="ada", **fields).status

    path = "/v1/personas/ada"
    script.answer = ANSWER
    for text, status in ((PERSONA, 200), (f"{PERSONA}\x00", 400), (PERSONA * 2_000, 400)):
        assert call(gateway.url, path, {"text": text}, method="PUT", **held).status == status
    assert call(gateway.url, path, b'{"text": "' + PERSONA.encode(), method="PUT").status == 401
    assert [ask(), ask(stream=True), ask(personadual={"isolation": "strict"})] == [200] * 3
    assert ask(personadual={"persona": f"{PERSONA}\x00"}) == 400
    assert ask(temperature=QUESTION) == 400
    assert ask(away.url) == 503
    script.status = 500
    assert ask() == 502
    script.status, script.fail_after = 200, 3
    assert ask(stream=True) == 200
    assert chat(gateway.url, QUESTION, key=key[:-1] + "x").status == 401
    # As they are on standard error, and in tests' own form: metrics and lines.
    lines = [formatter(form).format(record) for form in LogFormat for record in caplog.records]
    seen = "\n".join([caplog.text, *lines, call(gateway.url, "/metrics").body.decode()])
    assert '"logger":"personadual.gateway"' in seen
    assert "personadual.gateway" in caplog.text
    for secret in (PERSONA, QUESTION, ANSWER, key, key.split("-", 2)[2], "ada"):
        assert secret not in seen, secret


@pytest.mark.parametrize("text", [PERSONA, f"{PERSONA}\n{PERSONA}"])
def test_no_line_tells_what_an_unexpected_failure_was_about(text: str) -> None:
    """A mistake of ours in the middle of an answer: its line has neither values nor their text."""
    try:
        {"persona": "x"}[text]
    except KeyError as error:
        failure = (type(error), error, error.__traceback__)
    record = logging.LogRecord("personadual.gateway", logging.ERROR, "", 1, "failed", (), failure)
    for form in LogFormat:
        line = formatter(form).format(record)
        assert "KeyError" in line
        assert PERSONA not in line


def test_refusals_repeat_nothing(start_gateway: Starter, fake: FakeEngine, script: Script) -> None:
    """An error names the field; its value may be a persona, and callers log errors."""
    gateway = start_gateway(fake.url)
    for body in (
        {"personadual": {"persona": f"{PERSONA}\x00"}},
        {"personadual": {"persona_id": f"{PERSONA} \n"}},
        {"personadual": {"mode": PERSONA}},
        {"temperature": PERSONA},
        {"n": [PERSONA]},
    ):
        refused = chat(gateway.url, **body)
        assert refused.status == 400
        assert PERSONA.encode() not in refused.body
        assert refused.json["error"]["param"]


def test_the_documentation_shows_no_setting(start_gateway: Starter, fake: FakeEngine) -> None:
    """`/docs` and the document behind it know the schemas, and nothing of this deployment."""
    secret = "sk-wombat-0123456789"
    gateway = start_gateway(fake.url, engine_api_key=secret)
    for path in ("/docs", "/openapi.json", "/metrics", "/health/ready"):
        assert secret.encode() not in call(gateway.url, path).body
