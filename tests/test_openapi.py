"""The gateway does what its OpenAPI document says, whatever it is sent: schemathesis drives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr

from app.main import open_engine, open_store
from app.settings import Settings
from testbed.fake_engine import FakeEngine
from testbed.http import call
from tests.api_keys import new_key
from tests.conftest import Gateway, RedisServer

EXAMPLES = 8
OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/mode"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/v1/personas"),
    ("PUT", "/v1/personas/{persona_id}"),
    ("GET", "/v1/personas/{persona_id}"),
    ("PATCH", "/v1/personas/{persona_id}"),
    ("DELETE", "/v1/personas/{persona_id}"),
    ("GET", "/v1/personas/export"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/{key_id}"),
]


LINES = ("POST", "/v1/personas/import")
"""Takes JSON lines, which no schema of OpenAPI describes: `test_persona_lines.py` drives it."""


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, fake: FakeEngine) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """A gateway that asks for keys, and one that may do everything."""
    fake.reset()
    settings = Settings(
        engine_url=fake.url,
        redis_url=SecretStr(redis_server.url),
        redis_timeout_ms=1_000,
        auth="required",
    )
    gateway = Gateway(settings, open_engine(settings), open_store(settings))
    gateway.start()
    yield gateway, {"Authorization": f"Bearer {new_key(redis_server.url)}"}
    gateway.stop()


@pytest.fixture(scope="module")
def described(keyed: tuple[Gateway, dict[str, str]], library: Callable[[str], ModuleType]) -> Any:
    schemathesis = library("schemathesis")
    return schemathesis.openapi.from_url(f"{keyed[0].url}/openapi.json")


def test_every_operation_is_driven(keyed: tuple[Gateway, dict[str, str]]) -> None:
    paths = call(keyed[0].url, "/openapi.json").json["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert sorted(found) == sorted([*OPERATIONS, LINES])


def test_all_that_is_said_of_a_model_is_described(keyed: tuple[Gateway, dict[str, str]]) -> None:
    gateway, headers = keyed
    document = call(gateway.url, "/openapi.json").json
    (first, *_) = call(gateway.url, "/v1/models", headers=headers).json["data"]
    assert document["components"]["schemas"]["ModelBody"]["properties"].keys() == first.keys()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_described(
    keyed: tuple[Gateway, dict[str, str]], described: Any, method: str, path: str
) -> None:
    """No 500; status, content type and body as documented; good input taken, bad input not."""
    from hypothesis import HealthCheck, given, settings
    from schemathesis import GenerationMode

    operation = described[path][method]
    gateway, headers = keyed

    takes_input = "{" in path or method in ("POST", "PUT", "PATCH") or path == "/v1/personas"
    for mode in list(GenerationMode) if takes_input else [GenerationMode.POSITIVE]:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def drive(case: Any) -> None:
            answer = case.call_and_validate(base_url=gateway.url, headers=headers)
            assert "Traceback" not in answer.text

        drive()
