"""Bodies that mean harm or nothing: each is answered, none is a 500, none costs without bound."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.fake_engine import Script, sent
from testbed.http import Answer, call
from tests.conformance.conftest import shared_gateway as shared_gateway
from tests.conftest import Gateway

CHAT = "/v1/chat/completions"
PLAIN = {"messages": [{"role": "user", "content": "x"}]}
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def gateway(shared_gateway: Gateway, script: Script) -> Gateway:
    return shared_gateway


def is_well_refused(answer: Answer) -> bool:
    error = answer.json["error"]
    is_named = isinstance(error["message"], str) and isinstance(error["code"], str)
    return 400 <= answer.status < 500 and is_named and "Traceback" not in error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "\x7f"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CHAT), ("PUT", "/v1/personas/ada"), ("POST", "/v1/personas/import")],
)
def test_compressed_bodies_are_refused(
    gateway: Gateway, encoding: str, method: str, path: str
) -> None:
    """A bomb of 10 MB in 10 kB is never unpacked: 415, with what to do."""
    bomb = gzip.compress(b'{"text": "' + b"x" * 10_000_000)
    begun = time.monotonic()
    answer = call(gateway.url, path, bomb, method=method, headers={"Content-Encoding": encoding})
    assert time.monotonic() - begun < 2
    if encoding == "\x7f":
        assert answer.status == 400, "no HTTP"
        return
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_encoding")
    assert answer.json["error"]["param"] == "content-encoding"


def test_identity_is_no_compression(gateway: Gateway) -> None:
    assert call(gateway.url, CHAT, PLAIN, headers={"Content-Encoding": "Identity"}).status == 200


def nested(depth: int) -> bytes:
    return b'{"messages": [{"role": "user", "content": "x"}], "tools": ' + (
        b"[" * depth + b"]" * depth + b"}"
    )


def deep(levels: int = 60) -> Any:
    return {} if not levels else {"properties": deep(levels - 1)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": deep()}}]),
        ("chat_template_kwargs", {"note": deep()}),
        ("documents", [deep()]),
        (
            "messages",
            [{"role": "user", "content": [{"type": "text", "text": "x", "more": deep()}]}],
        ),
        ("messages", [{"role": "user", "content": "x", "more": deep()}]),
        ("messages", [{"role": "tool", "content": "x", "arguments": json.dumps({"\\": deep()})}]),
    ],
)
def test_what_is_nested_too_deeply_is_named(gateway: Gateway, field: str, value: Any) -> None:
    answer = call(gateway.url, CHAT, {**PLAIN, field: value})
    assert answer.status == 400
    assert answer.json["error"]["param"] == field
    assert answer.json["error"]["message"] == f"{field} is nested too deeply"


ODD: dict[str, tuple[bytes, int]] = {
    "nested 1,000 deep": (nested(1_000), 400),
    "nested a million deep": (nested(1_000_000), 400),
    "a number beyond floats": (b'{"messages": [], "temperature": 1e999}', 400),
    "a number of a million digits": (b'{"n": ' + b"9" * 1_000_000 + b"}", 400),
    "not a number": (b'{"n": NaN}', 400),
    "NUL bytes": (b"\x00" * 1_000, 400),
    "a NUL behind the end": (json.dumps(PLAIN).encode() + b"\x00", 400),
    "half a surrogate": (b'{"messages": [{"role": "user", "content": "\\ud83e"}]}', 400),
    "UTF-16": (json.dumps(PLAIN).encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(PLAIN).encode(), 400),
    "comments": (b'/* x */ {"messages": []}', 400),
    "a form": (b"messages=x&model=pocket", 400),
    "200,000 fields": (
        json.dumps({**PLAIN, **{f"f{n}": n for n in range(200_000)}}).encode(),
        200,
    ),
    "n beyond 64 bits": (b'{"messages": [{"role": "user"}], "n": 99999999999999999999}', 400),
    "a NUL in the text": (b'{"messages": [{"role": "user", "content": "a\\u0000b"}]}', 200),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_bodies(gateway: Gateway, name: str) -> None:
    raw, status = ODD[name]
    begun = time.monotonic()
    answer = call(gateway.url, CHAT, raw)
    assert time.monotonic() - begun < 5
    assert answer.status == status, answer.body
    assert status == 200 or is_well_refused(answer)


def test_the_last_of_two_keys_counts_everywhere(gateway: Gateway, script: Script) -> None:
    """What we check is what the engine gets: none sees another of the two."""
    raw = b'{"messages": [], "n": 0, "messages": [{"role": "user", "content": "x"}], "n": 2}'
    answer = call(gateway.url, CHAT, raw)
    assert (answer.status, len(answer.json["choices"]), sent(script)["n"]) == (200, 2, 2)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = (
    *("messages", "model", "stream", "n", "temperature", "top_p", "max_tokens", "stop", "user"),
    *("max_completion_tokens", "min_tokens", "logprobs", "top_logprobs", "stream_options"),
    *("allowed_token_ids", "stop_token_ids", "vllm_xargs", "chat_template_kwargs", "personadual"),
    *("include_reasoning", "tools", "tool_choice", "response_format", "prompt_logprobs"),
    *("safety_identifier", "use_beam_search", "skip_special_tokens"),
)
OURS = ("mode", "threshold", "isolation", "persona_id", "persona", "decision", "x")
bodies = st.fixed_dictionaries(
    {"messages": st.just(PLAIN["messages"]) | values},
    optional={
        **{name: values for name in FIELDS if name not in ("messages", "personadual")},
        "personadual": st.dictionaries(st.sampled_from(OURS), values, max_size=2) | values,
    },
)


@pytest.mark.parametrize("path", [CHAT, "/v1/mode"])
def test_any_body_is_answered_or_refused(gateway: Gateway, path: str) -> None:
    """Any JSON in any field: an answer, or an error that a caller can read."""

    @QUICK
    @given(bodies)
    def drive(body: dict[str, Any]) -> None:
        answer = call(gateway.url, path, body)
        assert answer.status == 200 or is_well_refused(answer), (body, answer.body)

    drive()


def test_a_persona_comes_back_as_it_went_in_or_is_refused(gateway: Gateway) -> None:
    """Text and attributes, to the character; and what was refused left nothing behind."""
    call(gateway.url, "/v1/personas/odd", method="DELETE")
    kept: dict[str, Any] = {}

    @QUICK
    @given(st.text(max_size=20) | values, st.dictionaries(st.text(max_size=5), values, max_size=2))
    def drive(text: Any, attributes: dict[str, Any]) -> None:
        body = {"text": text, "attributes": attributes}
        answer = call(gateway.url, "/v1/personas/odd", body, method="PUT")
        if answer.status == 200:
            kept.update(body)
        else:
            assert is_well_refused(answer), (body, answer.body)
        found = call(gateway.url, "/v1/personas/odd")
        if kept:
            assert found.json["text"] == kept["text"]
            assert found.json["attributes"] == kept["attributes"]
        else:
            assert found.status == 404

    drive()
    assert kept
