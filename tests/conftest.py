"""Fixtures: real Redis, honest fake engine, real vLLM, and gateways over them, all over sockets."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import pytest
import uvicorn
import uvloop
from openai import OpenAI
from pydantic import SecretStr
from redis import Redis

from app.http.connection import Connection
from app.main import create_app, open_engine, open_store
from app.serve.preflight import free_port, redis_binary
from app.settings import Settings
from app.store import Store
from model.engine import Engine
from testbed import fake_engine
from testbed.fake_engine import FakeEngine, Script
from testbed.real_engine import RealEngine, built_pocket
from tests.random_models import adapter as adapter
from tests.random_models import sharp as sharp
from tests.random_models import tiny as tiny

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.console_page import ConsolePage

ARE_PROGRAMS_REQUIRED = os.environ.get("PERSONADUAL_TEST_PROGRAMS") == "required"


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Find an optional program; where it is missing the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            _do_without(name)
        return found

    return find


@pytest.fixture(scope="session")
def library() -> Callable[[str], ModuleType]:
    """Import an optional library; where it is missing the test is skipped, in CI it fails."""

    def find(name: str) -> ModuleType:
        if importlib.util.find_spec(name) is None:
            _do_without(name)
        return importlib.import_module(name)

    return find


def _do_without(name: str) -> NoReturn:
    if ARE_PROGRAMS_REQUIRED:
        pytest.fail(f"{name} is not installed, and this run requires it")
    pytest.skip(f"{name} is not installed")


class RedisServer:
    """A redis-server on a loopback port, which a test may stop, hang and start again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = f"--port {self.port} --bind 127.0.0.1 --save --appendonly no".split()
        self._process = subprocess.Popen(
            [redis_binary(), *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        client = Redis.from_url(self.url)
        wait_until(lambda: _is_up(client))
        client.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _is_up(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except Exception:  # noqa: BLE001 - any failure means "not yet"
        return False


def wait_until(is_true: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """A connection to an empty Redis."""
    client = Redis.from_url(redis_server.url, decode_responses=True)
    client.flushall()
    yield client
    client.close()


class Gateway:
    """A gateway under uvicorn in a thread, on a real port."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: Store,
        http: type[Connection] = Connection,
    ) -> None:
        self.app = create_app(settings, engine, store)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="warning", http=http, loop="uvloop")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self.loop = runner.get_loop()
            runner.run(self._server.serve(sockets=[self._socket]))

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    @property
    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)


Starter = Callable[..., Gateway]


@pytest.fixture
def start_gateway(redis: Redis, redis_server: RedisServer) -> Iterator[Starter]:
    """Start gateways with settings of the test's choice; they end with it."""
    started: list[Gateway] = []

    def start(
        engine_url: str, *, http: type[Connection] = Connection, **settings: object
    ) -> Gateway:
        chosen = {
            "engine_url": engine_url,
            "redis_url": SecretStr(redis_server.url),
            # Two busy cores: what is being measured elsewhere must not fail tests here.
            "redis_timeout_ms": 1_000,
            **settings,
        }
        made = Settings(**chosen)
        gateway = Gateway(made, open_engine(made), open_store(made), http)
        gateway.start()
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeEngine]:
    yield from fake_engine.running()


@pytest.fixture
def script(fake: FakeEngine) -> Script:
    """The fake model's behaviour, fresh for each test."""
    return fake.reset()


@pytest.fixture
def gateway(start_gateway: Starter, fake: FakeEngine, script: Script) -> Gateway:
    """A gateway over the fake engine, with default settings."""
    return start_gateway(fake.url)


@pytest.fixture(scope="session")
def pocket() -> Path:
    """The base of the default checkpoint, built once and kept between runs."""
    return built_pocket(is_trained=False)


@pytest.fixture(scope="session")
def engine(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The real vLLM with the gate: six slots, so that requests wait and move; async scheduling;
    calls of tools."""
    options = ["--max-num-seqs", "6", "--async-scheduling"]
    options += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    server = RealEngine(pocket, tmp_path_factory.mktemp("engine"), options)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(program: Callable[[str], str]) -> Iterator[Browser]:
    """A real Chromium. One a module: its event loop must not outlive the module's tests."""
    path = program("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()


Show = Callable[..., "ConsolePage"]


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Open the console of a gateway; what holds for every page is checked at the end."""
    from tests.console_page import ConsolePage

    opened: list[ConsolePage] = []

    def show(url: str, **context: object) -> ConsolePage:
        opened.append(ConsolePage(browser, url, **context))
        return opened[-1].open()

    yield show
    for page in opened:
        page.close()


@pytest.fixture
def console(show: Show, gateway: Gateway) -> ConsolePage:
    """The console of a gateway over the fake engine."""
    return show(gateway.url)
