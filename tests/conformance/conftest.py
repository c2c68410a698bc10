"""One gateway for all these tests: they ask it and do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from app.main import open_engine, open_store
from app.settings import Settings
from testbed.fake_engine import FakeEngine, Script
from tests.conftest import Gateway, RedisServer


@pytest.fixture(scope="session")
def shared_gateway(redis_server: RedisServer, fake: FakeEngine) -> Iterator[Gateway]:
    settings = Settings(
        engine_url=fake.url, redis_url=SecretStr(redis_server.url), redis_timeout_ms=1_000
    )
    gateway = Gateway(settings, open_engine(settings), open_store(settings))
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def gateway(shared_gateway: Gateway, script: Script) -> Gateway:
    return shared_gateway
