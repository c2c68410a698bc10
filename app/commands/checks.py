"""What `personadual doctor` looks at. A check returns what it found, or fails with what to do."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import app
from app.access.policies import policy_of
from app.commands.gateway import Gateway
from app.commands.status import look
from app.serve import preflight
from app.serve.engine import CPU_PACKAGE, CUDA_PACKAGE, engine_package
from app.serve.whereabouts import pocket_folder
from app.settings import Settings, read_settings, unknown_variables
from model.card import load_card
from model.errors import EngineError, GatewayUnavailable, PersonaDualError, StartFailed
from model.vllm import VllmEngine

ROOT = Path(app.__file__).parents[1]
OLDEST_PYTHON = (3, 11)
# Their builds do not fit the CPU build of torch, and break its import.
UNFIT_WITH_CPU_TORCH = ("torchvision", "torchaudio", "torchcodec")
LOCKS = {CPU_PACKAGE: "cpu.lock", CUDA_PACKAGE: "cuda.lock"}
SHOWN_PACKAGES = 3


@dataclass(frozen=True)
class Finding:
    """What one check says: all is well, or (`is_wrong`) what to fix, or what to know."""

    name: str
    says: str
    is_wrong: bool = False
    is_note: bool = False


@dataclass(frozen=True)
class Note:
    """Nothing to fix, and something to know."""

    says: str


Check = Callable[[], str | Note]


def findings(gateway: Gateway, data: Path, model: Path | None) -> Iterator[Finding]:
    """Look at everything, one finding after the other; what one check needs no other prevents."""
    yield _found("python", _python)
    yield _found("packages", _packages)
    yield _found("torch", _torch)
    try:
        settings = read_settings()
    except StartFailed as error:
        yield Finding("settings", error.message, is_wrong=True)
        return
    yield _found("settings", lambda: _settings(settings))
    yield _found("disk", lambda: _disk(settings, data, model))
    is_running = _answers(gateway)
    if is_running:
        yield _found("gateway", lambda: _gateway(gateway))
    else:
        yield _found("port", lambda: _port(gateway))
    yield _found("redis", lambda: _redis(settings))
    yield _found("engine", lambda: _engine(settings, is_running=is_running))
    yield _found("card", lambda: _card(settings, data, model))


def _found(name: str, check: Check) -> Finding:
    try:
        found = check()
    except PersonaDualError as error:
        return Finding(name, error.message, is_wrong=True)
    if isinstance(found, Note):
        return Finding(name, found.says, is_note=True)
    return Finding(name, found)


def _python() -> str | Note:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        raise StartFailed(f"{version} is too old: install Python 3.11, then make install")
    if sys.version_info[:2] != OLDEST_PYTHON:
        return Note(f"{version}: the locks are made for 3.11")
    return version


def _packages() -> str | Note:
    package = _installed_engine() or CPU_PACKAGE
    lock = ROOT / "requirements" / LOCKS[package]
    if not lock.is_file():
        return Note("no lock beside this installation to compare with")
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.M))
    differing = []
    for found in metadata.distributions():
        wanted = locked.get(re.sub(r"[-_.]+", "-", found.name).lower())
        if wanted is not None and found.version.partition("+")[0] != wanted.partition("+")[0]:
            differing.append(f"{found.name} {found.version} for {wanted}")
    if differing:
        some = ", ".join(sorted(differing)[:SHOWN_PACKAGES])
        raise StartFailed(f"not as in {lock.name}: {len(differing)} ({some}); make install")
    return f"as in {lock.name}"


def _torch() -> str | Note:
    version, package = _version("torch"), _installed_engine()
    if version is None:
        return Note("not installed; engine and training need it: make install")
    is_cpu = package == CPU_PACKAGE
    if (is_cpu and "+cu" in version) or (package == CUDA_PACKAGE and "+cpu" in version):
        raise StartFailed(f"{version} is not the build for {package}: make clean install")
    unfit = [name for name in UNFIT_WITH_CPU_TORCH if is_cpu and _version(name)]
    if unfit:
        raise StartFailed(f"{version} is broken by {' '.join(unfit)}: pip uninstall them")
    if is_cpu and Path("/dev/nvidia0").exists():
        return Note(f"{version}: there is a GPU; make clean install DEVICE=cuda uses it")
    return version


def _settings(settings: Settings) -> str | Note:
    policy_of(settings)
    if lines := unknown_variables():
        return Note("; ".join(lines))
    return "well formed" + (", the policy file too" if settings.policy else "")


def _disk(settings: Settings, data: Path, model: Path | None) -> str:
    serves_pocket = model is None and "engine_url" not in settings.model_fields_set
    needed = preflight.data_bytes(data, serves_pocket=serves_pocket)
    free = preflight.check_room(data, needed)
    return f"{free / 1e9:,.0f} GB free, {needed / 1e9:.1f} needed"


def _answers(gateway: Gateway) -> bool:
    try:
        gateway.ask("GET", "/health/live")
    except GatewayUnavailable:
        return False
    except PersonaDualError:
        return True  # somebody does; the checks of the gateway say who
    return True


def _gateway(gateway: Gateway) -> str:
    seen, _ = look(gateway)
    wrong = [f"{name}: {said}" for name, said in seen.checks.items() if said != "ok"]
    if wrong:
        raise StartFailed(f"{gateway.url} is not ready ({'; '.join(wrong)})")
    gateway.ask("GET", "/v1/models")
    return f"ready at {gateway.url}" + (", and takes the key" if seen.asks_keys else "")


def _port(gateway: Gateway) -> str:
    parts = urlsplit(gateway.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if host not in ("localhost", "127.0.0.1", "::1"):
        raise StartFailed(f"no gateway answers at {gateway.url}: start it there, or fix --url")
    preflight.check_port(host, port)
    return f"{port} is free for personadual serve"


def _redis(settings: Settings) -> str:
    if "redis_url" in settings.model_fields_set:
        preflight.check_redis(settings.redis_url.get_secret_value())
        return "answers at PERSONADUAL_REDIS_URL"
    return f"{preflight.redis_binary()}, started by personadual serve"


def _engine(settings: Settings, *, is_running: bool) -> str:
    if "engine_url" not in settings.model_fields_set:
        package = engine_package()
        if not is_running:  # else it has its memory already
            preflight.check_memory()
        return f"{package} {_version(package)}, started by personadual serve"
    preflight.check_engine(settings.engine_url)
    if not asyncio.run(_has_gate(settings)):
        raise StartFailed(
            "the engine at PERSONADUAL_ENGINE_URL has no gate: start it with --logits-processors"
            " model.gate:ModeGate"
        )
    return "answers at PERSONADUAL_ENGINE_URL, with the gate"


async def _has_gate(settings: Settings) -> bool:
    engine = VllmEngine(settings.engine_url, api_key=settings.engine_key())
    try:
        return await engine.has_gate()
    except EngineError as error:
        raise StartFailed(f"the engine at PERSONADUAL_ENGINE_URL: {error.message}") from error
    finally:
        await engine.close()


def _card(settings: Settings, data: Path, model: Path | None) -> str | Note:
    folder = model or settings.checkpoint
    if folder is None:
        if "engine_url" in settings.model_fields_set:
            return Note("where the engine says; else name its folder by PERSONADUAL_CHECKPOINT")
        folder = pocket_folder(data)
        if not folder.is_dir():
            return Note("Pocket is built by the first personadual serve")
    if not folder.is_dir():
        raise StartFailed(f"{folder} is not a folder: name the checkpoint's with --model")
    _, warning = load_card(folder)
    if warning:
        return Note(f"{folder}: {warning}")
    return f"{folder}"


def _installed_engine() -> str | None:
    return next((name for name in LOCKS if _version(name)), None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
