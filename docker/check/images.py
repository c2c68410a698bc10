"""Builds the images by buildah, on a base that stands in for the one of a registry.

A debootstrapped Debian bookworm, whose Python is 3.11 too, is tagged with the base image's name.
pip's own way to its packages is lent to a build and leaves no trace in an image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = Path("/var/tmp/personadual-images")
BASE = "docker.io/library/python:3.11-slim-bookworm"
BASE_PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
SITE = "opt/personadual/lib/python3.11/site-packages"
TARGETS = {"engine": ["--target", "cpu"]}
STAND_IN = "localhost/personadual-stand-in"
# Debian's Redis and Prometheus, laid out as the images that Compose names: users and volumes.
STAND_IN_FILE = f"""
FROM {BASE}
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends prometheus redis-server wget \\
    && install --directory --owner 999 --group 1000 /data \\
    && install --directory --owner 65534 --group 65534 /prometheus
"""
ENV = {**os.environ, "BUILDAH_ISOLATION": "chroot"}


class Failed(Exception):
    """A step failed, and this says which and why."""


def buildah(*arguments: str, limit_s: float = 1800.0) -> str:
    """Run it to its end, and give what it printed.

    Raises:
        Failed: it did not succeed; with the end of what it complained of.
    """
    try:
        done = subprocess.run(
            ["buildah", *arguments], env=ENV, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"buildah {arguments[0]} took more than {limit_s:.0f} s") from error
    if done.returncode != 0:
        raise Failed(f"buildah {' '.join(arguments[:2])}:\n{tail(done.stdout + done.stderr)}")
    return done.stdout.strip()


def tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def is_there(image: str) -> bool:
    listed = subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True)
    return listed.returncode == 0


def make_base() -> None:
    """Tag a Debian under the base image's name, unless there is one of that name."""
    if is_there(BASE):
        return
    tree = WORK / "bookworm"
    if not (tree / "usr/bin/pip").exists():
        sites = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True
        ).stdout.split()
        shutil.rmtree(tree, ignore_errors=True)
        log = WORK / "debootstrap.log"
        options = ["--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm"]
        with log.open("w") as out:
            done = subprocess.run(
                ["debootstrap", *options, str(tree), *sites[:1]], stdout=out, stderr=out
            )
        if done.returncode != 0:
            raise Failed(f"debootstrap:\n{tail(log.read_text())}")
    for path in (tree / "var/cache/apt/archives").glob("*.deb"):
        path.unlink()
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, str(tree), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)


def make_stand_in() -> None:
    """What stands in for the images of Redis and Prometheus."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "Dockerfile"
        file.write_text(STAND_IN_FILE)
        buildah("bud", "--quiet", "--layers", "--file", str(file), "--tag", STAND_IN, folder)


def pip_volumes(folder: Path) -> list[str]:
    """What pip is told here, as volumes of a build: its configuration, and what that names."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    told: dict[str, str] = {}
    for line in sorted(listed.splitlines(), reverse=True):  # `global.` before `:env:.`, which wins
        name, value = line.split("=", 1)
        told[name.rsplit(".", 1)[1]] = value.strip("'\"")
    configuration = folder / "pip.conf"
    lines = [f"{name} = {value}" for name, value in told.items()]
    configuration.write_text("\n".join(["[global]", *lines, ""]))
    volumes = [f"{configuration}:/etc/pip.conf:ro"]
    for word in {word for value in told.values() for word in value.split()}:
        path = Path(word.removeprefix("file://"))
        if word.startswith("file://"):
            path = path.parent  # the files of an index lie beside it
        if path.is_absolute() and path.exists():
            volumes.append(f"{path}:{path}:ro")
    return [part for volume in volumes for part in ("--volume", volume)]


def build(name: str) -> str:
    """Build one of ours, and give the image's name."""
    image = f"localhost/personadual-{name}"
    file = ROOT / "docker" / f"{name}.Dockerfile"
    options = ["--quiet", "--format", "docker", "--layers", *TARGETS.get(name, [])]
    with tempfile.TemporaryDirectory() as folder:
        volumes = pip_volumes(Path(folder))
        buildah("bud", *options, "--file", str(file), "--tag", image, *volumes, str(ROOT))
    if name != "router":
        require_this_source(image)
    return image


def require_this_source(image: str) -> None:
    """See that the image holds what lies here: a builder's cache may know better.

    Raises:
        Failed: a file is another one, or is missing.
    """
    made = buildah("from", "--pull-never", image)
    try:
        installed = Path(buildah("mount", made)) / SITE
        for package in ("app", "model", "training"):
            for path in sorted((ROOT / package).rglob("*.py")):
                there = installed / path.relative_to(ROOT)
                if not there.is_file() or there.read_bytes() != path.read_bytes():
                    raise Failed(f"{image} holds another {path.relative_to(ROOT)} than this folder")
        card = "model/pocket/personadual.json"
        if (installed / card).read_bytes() != (ROOT / card).read_bytes():
            raise Failed(f"{image} holds another Pocket than this folder")
    finally:
        buildah("umount", made)
        buildah("rm", made)


def configuration(image: str) -> dict[str, Any]:
    """What the image says of how it is run."""
    found = json.loads(buildah("inspect", "--type", "image", image))
    return dict(found["Docker"]["config"])


def megabytes(image: str) -> float:
    (found,) = json.loads(buildah("images", "--json", image))
    return float(found["size"].split()[0]) * {"MB": 1, "GB": 1000}[found["size"].split()[1]]
