"""What the Compose files say of a service, with an image's own words where they say nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(\w+):([-?])([^}]*)\}")
NANOSECONDS = 1_000_000_000
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Loader(yaml.SafeLoader):
    """YAML with Compose's own tag: what it marks takes the place of what it overlays."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


@dataclass(frozen=True)
class Health:
    test: tuple[str, ...]
    interval_s: float
    patience_s: float


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    is_read_only: bool

    @property
    def is_named(self) -> bool:
        """A volume that Docker makes; else a path of this machine."""
        return not self.source.startswith((".", "/"))


@dataclass(frozen=True)
class Service:
    name: str
    command: tuple[str, ...]
    user: str
    folder: str
    environment: dict[str, str]
    mounts: tuple[Mount, ...]
    health: Health | None
    needs: tuple[str, ...]
    memory_bytes: int
    pids: int


def compose(*names: str, values: dict[str, str] | None = None) -> dict[str, Any]:
    """The services of the files, each laid over the ones before it.

    Raises:
        KeyError: a value without which nothing may start is missing.
    """
    merged: dict[str, Any] = {}
    given = values or {}
    for name in names:
        text = VARIABLE.sub(lambda found: _value(found, given), (ROOT / name).read_text())
        for service, said in yaml.load(text, Loader)["services"].items():
            merged[service] = _over(merged.get(service, {}), said)
    return merged


def _value(found: re.Match[str], values: dict[str, str]) -> str:
    name, kind, rest = found.groups()
    if kind == "?" and not values.get(name):
        raise KeyError(f"{name}: {rest}")
    return values.get(name) or rest


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        one = merged.get(name)
        if isinstance(one, dict) and isinstance(value, dict):
            merged[name] = _over(one, value)
        elif name == "volumes" and one:
            merged[name] = [*one, *value]
        else:
            merged[name] = value
    return merged


def service(name: str, said: dict[str, Any], image: dict[str, Any]) -> Service:
    """One service: `said` by Compose, over the configuration of its `image`."""
    entry = said.get("entrypoint", image.get("Entrypoint") or [])
    command = said.get("command", image.get("Cmd") or [] if "entrypoint" not in said else [])
    limits = said["deploy"]["resources"]["limits"]
    own = dict(one.split("=", 1) for one in image.get("Env") or [])
    given = {key: str(value) for key, value in said.get("environment", {}).items()}
    return Service(
        name=name,
        command=tuple(str(word).replace("$$", "$") for word in [*entry, *command]),
        user=said.get("user", image.get("User") or "0:0"),
        folder=image.get("WorkingDir") or "/",
        environment={**own, **given},
        mounts=tuple(_mount(one) for one in said.get("volumes", ())),
        health=_health(said.get("healthcheck"), image.get("Healthcheck")),
        needs=tuple(said.get("depends_on", {})),
        memory_bytes=int(limits["memory"][:-1]) * UNITS[limits["memory"][-1]],
        pids=int(limits["pids"]),
    )


def _mount(text: str) -> Mount:
    source, target, *options = text.split(":")
    return Mount(source, target, "ro" in options)


def _health(said: dict[str, Any] | None, image: dict[str, Any] | None) -> Health | None:
    if said is not None:
        interval = float(said["interval"].removesuffix("s"))
        return Health(_test(said["test"]), interval, interval * said["retries"])
    if image is not None:
        interval = image["Interval"] / NANOSECONDS
        patience = image.get("StartPeriod", 0) / NANOSECONDS + interval * image["Retries"]
        return Health(_test(image["Test"]), interval, patience)
    return None


def _test(words: Sequence[str]) -> tuple[str, ...]:
    kind, *rest = words
    return ("sh", "-c", *rest) if kind == "CMD-SHELL" else tuple(rest)
