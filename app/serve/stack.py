"""The stack: Redis, engine and gateway, started in order, watched together, ended together."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from redis import Redis

from app.access.policies import policy_of
from app.serve import preflight, probes
from app.serve.child import STOP_S, Child
from app.serve.door import check_door
from app.serve.engine import (
    Launch,
    build_command,
    engine_command,
    engine_package,
    own_checkpoint,
)
from app.serve.gateway import Listen, gateway_command
from app.serve.whereabouts import note_redis, pocket_folder, private_folder
from app.settings import Settings
from model.errors import StartFailed
from model.pocket import build as pocket

POLL_S = 0.2
REDIS_LIMIT_S = 20.0
BUILD_LIMIT_S = 600.0
ENGINE_LIMIT_S = 900.0
GATEWAY_LIMIT_S = 60.0

Say = Callable[[str], contextlib.AbstractContextManager[None]]
"""Announces a step; the block is the step, and its end says how long it took."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked of `personadual serve`."""

    host: str
    port: int
    workers: int
    data: Path
    model: Path | None
    max_model_len: int
    engine_options: tuple[str, ...] = ()


class Stopped(Exception):
    """The user, or the system, asked us to end."""


class Stack:
    """Everything that is started for one service; `close` ends what is running, last first."""

    def __init__(self, wish: Wish, settings: Settings, say: Say) -> None:
        self._wish = wish
        self._settings = settings
        self._say = say
        self.data = wish.data
        self.asks_keys = False
        self.first_key: str | None = None
        self._engine_url = settings.engine_url
        self._children: list[Child] = []
        self._gateway: Child | None = None
        self._held = contextlib.ExitStack()
        self._runtime = Path(tempfile.mkdtemp(prefix="personadual-"))
        self._held.callback(shutil.rmtree, self._runtime, ignore_errors=True)

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._wish.host, self._wish.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._wish.port}"

    def start(self) -> None:
        """Start what is missing, in order.

        Raises:
            StartFailed: it cannot be done here; the message says what to do.
        """
        wish, chosen = self._wish, self._settings.model_fields_set
        needs_engine = "engine_url" not in chosen
        serves_pocket = needs_engine and wish.model is None
        policy_of(self._settings)
        preflight.check_port(wish.host, wish.port)
        needed_bytes = preflight.data_bytes(wish.data, serves_pocket=serves_pocket)
        preflight.check_disk(wish.data, needed_bytes)
        self._lock = self._held.enter_context(preflight.lock_data(wish.data))
        redis_url = None
        if needs_engine:
            package = engine_package()
            preflight.check_memory()
        else:
            preflight.check_engine(self._engine_url)
        if "redis_url" in chosen:
            preflight.check_redis(self._settings.redis_url.get_secret_value())
        else:
            redis_url = self._start_redis()
        self.asks_keys, self.first_key = check_door(
            wish.host, self._settings, redis_url or self._settings.redis_url.get_secret_value()
        )
        checkpoint = None
        if needs_engine:
            checkpoint = self._checkpoint()
            self._engine_url = self._start_engine(checkpoint, package)
        self._start_gateway(redis_url, checkpoint)

    @property
    def gateway(self) -> int | None:
        """The process id of the gateway, or of the supervisor of several, once it is started."""
        return None if self._gateway is None else self._gateway.pid

    def model_name(self) -> str:
        """The name of the model that is served, as its users must call it."""
        served = probes.models(self._engine_url, self._settings.engine_key())
        return str(served[0]["id"])

    def watch(self) -> None:
        """Never returns while all is well.

        Raises:
            StartFailed: a child has ended.
        """
        while True:
            self._check()
            time.sleep(POLL_S)

    def close(self) -> None:
        for child in reversed(self._children):
            child.stop()
        self._held.close()

    def _start_redis(self) -> str:
        binary = preflight.redis_binary()
        data = private_folder((self._wish.data / "redis").resolve())
        # A socket in a private folder: no port to be busy, and nobody else on this machine reads.
        socket = self._runtime / "redis.sock"
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "dir": str(data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        command = [
            binary,
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]
        with self._say("Redis, which keeps the personas"):
            # Redis holds the lock too: after a kill of this process nobody writes beside it.
            child = self._launch("redis", command, {}, held=[self._lock.fileno()])
            client = Redis(unix_socket_path=str(socket), socket_timeout=1.0)
            self._wait(child, REDIS_LIMIT_S, lambda: probes.answers_ping(client))
            client.close()
        noted = note_redis(self._wish.data, f"unix://{socket}")
        self._held.callback(noted.unlink, missing_ok=True)
        return f"unix://{socket}"

    def _checkpoint(self) -> Path:
        if self._wish.model is not None:
            return own_checkpoint(self._wish.model)
        folder = pocket_folder(self._wish.data).resolve()
        if not pocket.is_built(folder):
            with self._say("the default checkpoint, built once"):
                builder = self._launch("build", build_command(folder), {})
                self._wait(builder, BUILD_LIMIT_S, builder.has_ended_well)
            self._children.remove(builder)
        return folder

    def _start_engine(self, checkpoint: Path, package: str) -> str:
        port = preflight.free_port()
        wish = self._wish
        launch = Launch(checkpoint, port, wish.max_model_len, options=wish.engine_options)
        command, env = engine_command(launch, package)
        with self._say(f"the engine (vLLM) with {checkpoint.name}; about a minute on a CPU"):
            child = self._launch("engine", command, env)
            url = f"http://127.0.0.1:{port}"
            self._wait(child, ENGINE_LIMIT_S, lambda: probes.answers(f"{url}/health"))
        return url

    def _start_gateway(self, redis_url: str | None, checkpoint: Path | None) -> None:
        wish = self._wish
        command, env = gateway_command(Listen(wish.host, wish.port, wish.workers), self._runtime)
        env["PERSONADUAL_ENGINE_URL"] = self._engine_url
        # Nobody is told by readiness unless that is wished for: Ctrl-C ends at once.
        notice_s = self._settings.notice_s if "notice_s" in self._settings.model_fields_set else 0.0
        env["PERSONADUAL_NOTICE_S"] = str(notice_s)
        if redis_url is not None:
            env["PERSONADUAL_REDIS_URL"] = redis_url
        if checkpoint is not None:
            env["PERSONADUAL_CHECKPOINT"] = str(checkpoint)
        with self._say("the gateway"):
            child = self._gateway = self._launch("gateway", command, env, stop_s=STOP_S + notice_s)
            url = f"{self.url}/health/ready"
            self._wait(
                child, GATEWAY_LIMIT_S, lambda: probes.answers(url), lambda: probes.ask(url)[1]
            )

    def _launch(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        held: Sequence[int] = (),
        stop_s: float = STOP_S,
    ) -> Child:
        child = Child(name, command, env, self._wish.data / "logs" / f"{name}.log", held, stop_s)
        self._children.append(child)
        child.start()
        return child

    def _wait(
        self,
        child: Child,
        limit_s: float,
        is_ready: Callable[[], bool],
        says: Callable[[], str] = lambda: "nothing",
    ) -> None:
        deadline = time.monotonic() + limit_s
        while not is_ready():
            self._check()
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{child.name} was not ready within {limit_s:.0f} s and says {says()};"
                    f" its log: {child.log}"
                )
            time.sleep(POLL_S)

    def _check(self) -> None:
        for child in self._children:
            child.check()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise `Stopped`, once: what follows is the clean-up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
