"""The gateway's start: uvicorn over `app.main`. Stated once, like the engine's.

`personadual serve` runs it as a child, `personadual gateway` in its own place (containers do).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from app.access.policies import policy_of
from app.redis.link import check_url
from app.serve.engine import PYTHON
from app.settings import Settings

DRAIN_S = 10
HTTP = "app.http.connection:Connection"
# Workers set their logs up by themselves; their parent has no other way.
LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "app.logs.formatter"}},
    "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["lines"]},
    "loggers": {"uvicorn.error": {"level": "INFO"}},
}
PREFIX = "personadual-gateway-"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the gateway listens, and with how many processes."""

    host: str
    port: int
    workers: int


def scratch() -> Path:
    """An empty folder for this process, which holds it, also as what it becomes, until it ends.

    Nobody is left to remove it then, so those of gateways that have ended are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _hold(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="personadual-"))
    _hold(made)
    # Under its name no other finds it before it is held.
    return made.rename(made.with_name(PREFIX + made.name.removeprefix("personadual-")))


def _hold(folder: Path) -> bool:
    """Take the lock of a folder of one's own, for as long as this process lives; False where
    another has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    os.set_inheritable(descriptor, True)
    return True


def gateway_command(listen: Listen, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Its command line and environment; `folder` is empty, and its own as long as it runs."""
    command = [
        *(*PYTHON, "-m", "uvicorn", "app.main:gateway", "--factory"),
        *("--app-dir", str(folder)),  # its default is the user's folder
        *("--host", listen.host, "--port", str(listen.port), "--workers", str(listen.workers)),
        *("--loop", "uvloop", "--http", HTTP, "--no-access-log"),
        *("--timeout-graceful-shutdown", str(DRAIN_S)),
    ]
    if listen.workers == 1:
        return command, {}
    lines = folder / "log.json"
    lines.write_text(json.dumps(LOG_CONFIG))
    command += ["--log-config", str(lines)]
    shared = folder / "metrics"
    shared.mkdir()
    return command, {
        "PERSONADUAL_METRICS_DIR": str(shared),
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
    }


def check(settings: Settings) -> None:
    """See that what the settings name can be used: a worker could only die of it.

    Raises:
        PolicyInvalid: the policy file cannot be read, or a field is unknown or wrong.
        StartFailed: the Redis URL is not a Redis URL.
    """
    policy_of(settings)
    check_url(settings.redis_url.get_secret_value())


def become(listen: Listen, folder: Path) -> NoReturn:
    """Turn this process into the gateway, so that signals and the exit status are its own."""
    command, env = gateway_command(listen, folder)
    os.execve(command[0], command, {**os.environ, **env})
