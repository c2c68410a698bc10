"""The servers of a benchmark: each in a process of its own, from the beginning of a block to its
end. Their output goes to a log, which stays where the block fails.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from app.serve.child import Child
from app.serve.engine import PYTHON
from app.serve.gateway import HTTP
from app.serve.preflight import free_port, redis_binary

TREE = Path(__file__).parents[1]
QUICK = f"--loop uvloop --http {HTTP} --no-access-log --log-level warning"
START_LIMIT_S = 60.0
NO_ENV: Mapping[str, str] = {}


@dataclass(frozen=True)
class Server:
    """One that runs, and where it answers."""

    url: str
    child: Child

    async def wait_up(self, path: str) -> None:
        """Until `path` answers with 200.

        Raises:
            StartFailed: the server has ended.
            SystemExit: a minute is over.
        """
        deadline = time.monotonic() + START_LIMIT_S
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                self.child.check()
                try:
                    async with session.get(self.url + path) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        raise SystemExit(f"{self.url}{path} did not come up; its log is {self.child.log}")

    def cpu_s(self) -> float:
        """Processor time so far, of all threads."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def resident_mb(self) -> float:
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def own_folder() -> Iterator[Path]:
    """An empty one. It stays where the block fails, since a log in it may say why."""
    folder = Path(tempfile.mkdtemp(prefix="personadual-benchmark-"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] = NO_ENV
) -> Iterator[Child]:
    child = Child(name, command, env, folder / f"{name}.log")
    try:
        child.start()
        yield child
    finally:
        child.stop()


@contextmanager
def own_redis() -> Iterator[str]:
    """The address of a Redis that keeps nothing."""
    with own_folder() as folder:
        socket = folder / "redis.sock"
        command = [redis_binary(), "--port", "0", "--unixsocket", str(socket), "--save", ""]
        with running("redis", command, folder) as child:
            while not socket.exists():
                child.check()
                time.sleep(0.05)
            yield f"unix://{socket}"


@contextmanager
def serve(
    application: str, env: Mapping[str, str] = NO_ENV, *, tree: Path = TREE, options: str = QUICK
) -> Iterator[Server]:
    """An application factory under uvicorn, from the checkout `tree`."""
    port = free_port()
    place = ["--factory", "--app-dir", str(tree), "--port", str(port), *options.split()]
    command = [*PYTHON, "-m", "uvicorn", application, *place]
    # A gateway that is told to end would stay reachable for a while.
    env = {"PERSONADUAL_NOTICE_S": "0", **env, "PYTHONPATH": str(tree)}
    with own_folder() as folder, running("server", command, folder, env) as child:
        yield Server(f"http://127.0.0.1:{port}", child)
