"""Paths and methods: slashes, HEAD, OPTIONS, pages that open offline."""

from __future__ import annotations

import re

import pytest

from testbed.fake_engine import MODEL, Script
from testbed.http import call, chat
from tests.conftest import Gateway

GETS = ("/v1/models", f"/v1/models/{MODEL}", "/health/live", "/health/ready", "/metrics", "/docs")


@pytest.mark.parametrize("path", GETS)
def test_a_slash_at_the_end_changes_nothing(gateway: Gateway, script: Script, path: str) -> None:
    """No redirect: some clients lose their body or their key on the way."""
    assert call(gateway.url, path + "/").status == call(gateway.url, path).status == 200


def test_a_slash_behind_what_is_posted(gateway: Gateway, script: Script) -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    assert call(gateway.url, "/v1/chat/completions/", body).status == 200


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_its_body(gateway: Gateway, script: Script, path: str) -> None:
    """Load balancers ask so."""
    answer = call(gateway.url, path, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == call(gateway.url, path).headers["content-type"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/personas/ada", "DELETE, GET, HEAD, PATCH, PUT"),
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_methods_that_are_not_there(
    gateway: Gateway, script: Script, path: str, allowed: str, method: str
) -> None:
    """405 in OpenAI's shape, with all that is there; no header lets a foreign page in."""
    headers = {"Origin": "http://elsewhere", "Access-Control-Request-Method": "POST"}
    answer = call(gateway.url, path, method=method, headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed
    assert answer.headers["x-should-retry"] == "false"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_models_are_what_clients_list(gateway: Gateway, script: Script) -> None:
    listed = call(gateway.url, "/v1/models").json
    assert listed["object"] == "list"
    for model in listed["data"]:
        assert {"id", "object", "created", "owned_by", "max_model_len"} <= set(model)
        assert model == call(gateway.url, f"/v1/models/{model['id']}").json


def test_docs_open_offline(gateway: Gateway, script: Script) -> None:
    """All that the page loads comes from here, and is there."""
    page = call(gateway.url, "/docs").body.decode()
    assert "//" not in re.sub(r"<!--.*?-->", "", page).replace("</", "").replace("/>", "")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) == 3
    for path in loaded:
        answer = call(gateway.url, path)
        assert (answer.status, len(answer.body) > 500) == (200, True)
    assert call(gateway.url, "/openapi.json").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        lambda url: call(url, "/v1/models"),
        lambda url: call(url, "/nothing"),
        lambda url: call(url, "/v1/models", method="DELETE"),
        lambda url: call(url, "/v1/chat/completions", b"{"),
        lambda url: call(url, "/v1/chat/completions", b"x" * 17_000_000),
        lambda url: chat(url),
        lambda url: chat(url, stream=True),
    ],
)
def test_every_answer_has_a_request_id(gateway: Gateway, script: Script, answer: object) -> None:
    assert callable(answer)
    assert answer(gateway.url).headers["x-request-id"].startswith("req-")
