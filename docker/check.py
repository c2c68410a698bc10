"""Builds the images and runs the gateway's, also where no image registry can be reached.

A debootstrapped Debian bookworm, whose Python is 3.11 too, stands in for the base image and is
tagged with its name. Needs root, buildah, debootstrap, Debian's mirror as apt knows it, and pip's
own way to its packages, which is lent to the build and leaves no trace in an image.

    python -m docker.check                  # the gateway: built, started, asked, measured
    python -m docker.check engine training  # others too; they are large
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.serve.preflight import free_port
from tests.conftest import RedisServer, wait_until
from tests.fake_engine import FakeEngine
from tests.http import call, chat, put_persona

ROOT = Path(__file__).parents[1]
WORK = Path("/var/tmp/personadual-images")
BASE = "docker.io/library/python:3.11-slim-bookworm"
BASE_PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
TARGETS = {"gateway": [], "engine": ["--target", "cpu"], "training": []}
ENV = {**os.environ, "BUILDAH_ISOLATION": "chroot"}


def buildah(*arguments: str) -> str:
    """Run it to its end; what it says goes to the screen, unless it is asked for something."""
    done = subprocess.run(
        ["buildah", *arguments], env=ENV, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def is_there(image: str) -> bool:
    listed = subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True)
    return listed.returncode == 0


def make_base() -> None:
    """Tag a Debian under the base image's name, unless there is one of that name."""
    if is_there(BASE):
        return
    tree = WORK / "bookworm"
    if not (tree / "usr/bin/pip").exists():
        print(f"  … {BASE} stands in for itself: debootstrap, a minute or two", flush=True)
        sites = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True
        ).stdout.split()
        shutil.rmtree(tree, ignore_errors=True)
        with (WORK / "debootstrap.log").open("w") as log:
            options = ["--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm"]
            subprocess.run(["debootstrap", *options, str(tree), *sites[:1]], stdout=log, check=True)
    for path in (tree / "var/cache/apt/archives").glob("*.deb"):
        path.unlink()
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, str(tree), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)


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
    image = f"localhost/personadual-{name}"
    with tempfile.TemporaryDirectory() as folder:
        print(f"  … {image}", flush=True)
        file = ROOT / "docker" / f"{name}.Dockerfile"
        arguments = [
            "--quiet",
            "--format",
            "docker",
            "--layers",
            "--file",
            str(file),
            "--tag",
            image,
            *TARGETS[name],
        ]
        buildah("bud", *arguments, *pip_volumes(Path(folder)), str(ROOT))
    return image


def megabytes(image: str) -> float:
    (found,) = json.loads(buildah("images", "--json", image))
    return float(found["size"].split()[0]) * {"MB": 1, "GB": 1000}[found["size"].split()[1]]


@contextmanager
def running(image: str, command: list[str], env: dict[str, str]) -> Iterator[None]:
    """The image's entry point as its own user, on the network of this machine."""
    container = buildah("from", image)
    settings = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
    arguments = ["buildah", "run", *settings, container, "--", "personadual", *command]
    with (WORK / "run.log").open("w") as log:
        process = subprocess.Popen(arguments, env=ENV, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)
        buildah("rm", container)


def ask(image: str) -> None:
    """One question, by a persona, through the gateway in its image."""
    engine, redis, port = FakeEngine(), RedisServer(WORK), free_port()
    engine.start()
    redis.start()
    env = {"PERSONADUAL_ENGINE_URL": engine.url, "PERSONADUAL_REDIS_URL": redis.url}
    url = f"http://127.0.0.1:{port}"
    try:
        with running(image, ["gateway", "--port", str(port)], env):
            wait_until(lambda: is_ready(url), 60)
            put_persona(url, "ada", "Ada is vegan.")
            reply = chat(url, "What should I cook?", user="ada").json
            print(f"  ✓ asked: {reply['choices'][0]['message']['content']} {reply['personadual']}")
    finally:
        redis.stop()
        engine.stop()


def is_ready(url: str) -> bool:
    try:
        return call(url, "/health/ready").status == 200
    except OSError:
        return False


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    make_base()
    base = megabytes(BASE)
    for name in ["gateway", *sys.argv[1:]]:
        image = build(name)
        size = megabytes(image)
        print(f"  ✓ {image}: {size:.0f} MB, of which {size - base:.0f} MB are ours")
        if name == "gateway":
            ask(image)


if __name__ == "__main__":
    main()
