"""The console's files over HTTP: what is sent, with which headers, and how it is switched off."""

from __future__ import annotations

import re

import pytest

from app.console import FOLDER, POLICY
from testbed.fake_engine import FakeEngine, Script
from testbed.http import call
from tests.conftest import Gateway, Starter

PATHS = ["/", *(f"/console/{path.name}" for path in sorted(FOLDER.iterdir()))]


def test_every_file_is_sent_with_its_type_and_the_policy(gateway: Gateway) -> None:
    """No file, of whatever kind, goes out without the headers that keep it from doing harm."""
    for path in PATHS:
        answer = call(gateway.url, path)
        assert answer.status == 200, path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert call(gateway.url, "/").headers["content-type"] == "text/html; charset=utf-8"
    assert call(gateway.url, "/console/main.js").headers["content-type"].startswith("text/java")


def test_the_policy_allows_nothing_inline_and_no_other_host() -> None:
    allowed = {part.split()[0]: part.split()[1:] for part in POLICY.split("; ")}
    assert allowed["default-src"] == ["'none'"]
    assert allowed["frame-ancestors"] == ["'none'"]
    sources = {
        source
        for name, values in allowed.items()
        if name != "require-trusted-types-for"
        for source in values
    }
    assert sources == {"'self'", "'none'"}


def test_a_known_file_is_not_sent_again(gateway: Gateway) -> None:
    first = call(gateway.url, "/")
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = call(gateway.url, "/", headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
    assert call(gateway.url, "/", headers={"If-None-Match": '"other"'}).status == 200
    head = call(gateway.url, "/", method="HEAD")
    assert (head.status, head.headers["etag"]) == (200, etag)


@pytest.mark.parametrize(
    "path",
    ["/console/none.js", "/console/", "/console/../__init__.py", "/console/..%2f__init__.py"],
)
def test_nothing_else_is_sent(gateway: Gateway, path: str) -> None:
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


def test_a_setting_switches_it_off(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    gateway = start_gateway(fake.url, console=False)
    assert [call(gateway.url, path).status for path in ("/", "/console/main.js")] == [404, 404]


def test_the_documentation_stays_where_it_is(gateway: Gateway) -> None:
    """`/docs` is not the console's, and the console is no part of the API that it describes."""
    docs = call(gateway.url, "/docs")
    assert docs.status == 200
    assert docs.headers.get("content-security-policy") != POLICY
    assert "/" not in call(gateway.url, "/openapi.json").json["paths"]


def test_the_page_loads_what_is_there_and_from_here_alone() -> None:
    """It works offline: no address of another host, and no name of a file that is missing."""
    names = {path.name for path in FOLDER.iterdir()}
    for path in FOLDER.iterdir():
        if path.suffix not in (".html", ".css", ".js"):
            continue
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert set(re.findall(r"/console/([\w.]+)", text)) <= names
        assert set(re.findall(r'from "\./([\w.]+)"', text)) <= names


def test_no_code_writes_markup() -> None:
    """Text of personas and models enters the page as text: no sink that parses is used at all."""
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser"
    for path in FOLDER.glob("*.js"):
        assert not re.search(sinks, path.read_text()), path.name
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", page)


def test_the_models_tell_the_threshold_that_stands_where_a_request_names_none(
    start_gateway: Starter, fake: FakeEngine, script: Script
) -> None:
    """The dial begins there: the card's threshold, or the deployment's."""
    for settings, threshold in (({}, 0.5), ({"threshold": 0.7}, 0.7)):
        gateway = start_gateway(fake.url, **settings)
        listed = call(gateway.url, "/v1/models").json["data"]
        assert [model["threshold"] for model in listed] == [threshold] * 3
