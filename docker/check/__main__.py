"""Builds the images and runs them, also where no image registry and no Docker can be reached.

Needs root, a few Debian packages, Debian's mirror as apt knows it, and pip's own way to its
packages.

    python -m docker.check                # everything: a good half hour on two cores
    python -m docker.check gateway        # the gateway's image, alone, over a fake engine
    python -m docker.check stack scale    # as Compose wires them; `train` is the third
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from docker.check.containers import VOLUMES
from docker.check.images import (
    BASE,
    STAND_IN,
    WORK,
    Failed,
    build,
    make_base,
    make_stand_in,
    megabytes,
)
from docker.check.scenes import SCENES

# What each scene runs of ours.
IMAGES = {
    "gateway": ("gateway",),
    "stack": ("gateway", "engine"),
    "scale": ("gateway", "router"),
    "train": ("training",),
}
PROGRAMS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nsenter": "util-linux",
}


@contextmanager
def step(name: str) -> Iterator[None]:
    begun = time.monotonic()
    print(f"  … {name}", flush=True)
    yield
    print(f"  ✓ {name} ({time.monotonic() - begun:.0f} s)", flush=True)


def say(text: str) -> None:
    print(f"      {text}", flush=True)


def preflight(wanted: list[str]) -> None:
    """Say what is missing before the first minute is spent."""
    unknown = set(wanted) - SCENES.keys()
    if unknown:
        raise Failed(f"no such scene: {', '.join(unknown)}; there are {', '.join(SCENES)}")
    if os.geteuid() != 0:
        raise Failed("only root may make namespaces and mounts")
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if packages:
        raise Failed(f"apt-get install --no-install-recommends {' '.join(packages)}")


def build_all(wanted: list[str]) -> dict[str, str]:
    """Every image that the scenes need, under the name of its service."""
    with step(f"a Debian in the place of {BASE}"):
        make_base()
    with step("Debian's Redis and Prometheus in the place of theirs"):
        make_stand_in()
    base, images = megabytes(BASE), {"redis": STAND_IN, "prometheus": STAND_IN}
    for name in dict.fromkeys(image for scene in wanted for image in IMAGES[scene]):
        with step(f"the image {name}"):
            images[name] = build(name)
            size = megabytes(images[name])
            say(f"{size:.0f} MB, of which {size - base:.0f} MB are ours")
    if "training" in images:
        images["train"] = images["training"]
    return images


def main() -> None:
    wanted = sys.argv[1:] or list(SCENES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of the clean-up
    try:
        preflight(wanted)
        WORK.mkdir(parents=True, exist_ok=True)
        images = build_all(wanted)
        for name in wanted:
            shutil.rmtree(VOLUMES, ignore_errors=True)  # as on the first day
            with step(f"{name}: {(SCENES[name].__doc__ or '').splitlines()[0].rstrip('.')}"):
                SCENES[name](images, say)
    except (Failed, AssertionError, OSError) as error:
        print(f"  ✗ {error}", file=sys.stderr)
        sys.exit(1)
    print(
        "  Not seen here: Grafana, whose image only a registry has; tests ask each of its queries"
    )


if __name__ == "__main__":
    main()
