"""Runs services as Docker would, by the kernel's own means: a network of their own with names that
resolve, a root file system that is read-only, their volumes, an ordinary user without capabilities,
their limits and their health checks. What Docker adds beyond that (seccomp, an init, restarts, a
network without a way out for some only) is not here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from docker.check.images import ROOT, WORK, Failed, buildah, tail
from docker.check.limits import Limits
from docker.check.services import Service

BRIDGE = "pdual0"
HOST = "10.213.77.1"
ADDRESSES = "10.213.77."
VOLUMES = WORK / "volumes"
STOP_S = 30.0
CLONE_NEWNET = 0x40000000
# In a mount namespace of its own: $1 is the root, then mounts `SOURCE:TARGET:ro|rw` up to `--`.
SCRIPT = """
set -e
root=$1; shm=$2; shift 2
mount --bind "$root" "$root"
for one in proc sys dev; do mkdir -p "$root/$one"; done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --rbind -o ro /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o "size=$shm" shm "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
while [ "$1" != -- ]; do
  source=${1%%:*}; rest=${1#*:}; target=$root${rest%%:*}
  mount --bind "$source" "$target"
  if [ "${rest#*:}" = ro ]; then mount -o remount,bind,ro "$target"; fi
  shift
done
shift
mount -o remount,bind,ro "$root"
exec "$@"
"""
HEMMED = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def network(names: Mapping[str, str]) -> Iterator[None]:
    """A bridge, and a name server on it that knows `names` and nothing else, as Docker's does."""
    quietly("ip", "link", "delete", BRIDGE)
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    (WORK / "resolv.conf").write_text(f"nameserver {HOST}\n")
    records = [f"--host-record={name},{address}" for name, address in names.items()]
    options = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
    options += ["--local=/#/", "--pid-file="]  # all other names do not exist
    server = subprocess.Popen(
        ["dnsmasq", *options, f"--listen-address={HOST}", "--bind-interfaces", *records],
        stderr=subprocess.DEVNULL,
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise Failed(f"dnsmasq ended with {server.wait(0.5)}: is {HOST}:53 taken?")
        yield
    finally:
        server.terminate()
        server.wait()
        quietly("ip", "link", "delete", BRIDGE)


def quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True)


@dataclass
class Container:
    """A service that runs."""

    service: Service
    root: Path
    address: str
    process: subprocess.Popen[bytes]
    log: Path
    limits: Limits

    def check(self) -> None:
        """See that it is running.

        Raises:
            Failed: it ended; with what it said last.
        """
        if self.process.poll() is not None:
            raise Failed(
                f"{self.service.name} ended with {self.process.returncode}:\n"
                + tail(self.log.read_text())
            )

    def wait_healthy(self, begun: float) -> None:
        """As `depends_on: {condition: service_healthy}` does, by the check that Docker would run.

        Raises:
            Failed: it ended, or its patience ran out first.
        """
        health = self.service.health
        if health is None:
            return
        while not self._is_healthy(health.test):
            self.check()
            if time.monotonic() > begun + health.patience_s:
                raise Failed(
                    f"{self.service.name} is not healthy after {health.patience_s:.0f} s:\n"
                    + tail(self.log.read_text())
                )
            time.sleep(1)

    def _is_healthy(self, test: tuple[str, ...]) -> bool:
        try:
            return self.execute(*test).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`: same file system, network, user and environment."""
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "--net", "--root"]
        return subprocess.run(
            [*enter, *as_user(self.service, self.root), *command],
            capture_output=True,
            text=True,
            timeout=30,
        )

    def wait_end(self, limit_s: float) -> None:
        """For what ends by itself.

        Raises:
            Failed: it did not, or not well.
        """
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.service.name} took more than {limit_s:.0f} s") from error
        if status != 0:
            raise Failed(f"{self.service.name} ended with {status}:\n{tail(self.log.read_text())}")

    def stop(self) -> float:
        """SIGTERM, and what is left after that; gives the seconds that it took."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return time.monotonic() - begun


def as_user(service: Service, root: Path) -> list[str]:
    """What a command is begun with to be the service's user, in its home and environment."""
    user, group = service.user.split(":")
    known = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    home = next((fields[5] for fields in known if fields[2] == user), "/")
    environment = {"HOME": home, **service.environment}
    return [
        *("setpriv", f"--reuid={user}", f"--regid={group}", *HEMMED),
        *("env", "--ignore-environment"),
        *(f"{name}={value}" for name, value in environment.items()),
    ]


@contextlib.contextmanager
def running(service: Service, image: str, address: str) -> Iterator[Container]:
    """The service in its image, until the block ends."""
    made = buildah("from", image)
    log = WORK / f"{service.name}.log"
    try:
        root = Path(buildah("mount", made))
        namespace = join_network(service.name, address)
        limits = Limits(service.name, service.memory_bytes, service.pids)
        # Into the limits first: what it starts is bound by them too.
        enter = ["sh", "-c", f'{limits.join} exec "$@"', "sh", "ip", "netns", "exec", namespace]
        inside = [*as_user(service, root), "sh", "-c", f'cd "{service.folder}"; exec "$@"', "sh"]
        command = [
            *(*enter, "unshare", "--mount", "--ipc", "--uts", "sh", "-c", SCRIPT, "sh"),
            *(str(root), "1g", *mounts(service, root), "--"),
            *("chroot", str(root), *inside, *service.command),
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        container = Container(service, root, address, process, log, limits)
        try:
            yield container
        finally:
            container.stop()
            limits.lift()
    finally:
        leave_network(service.name)
        buildah("umount", made)
        buildah("rm", made)


def join_network(name: str, address: str) -> str:
    """Give the name of a network of the service's own, with one cable to the bridge."""
    namespace, cable = f"pdual-{name}", f"pd{address.rsplit('.', 1)[1]}"
    leave_network(name)
    quietly("ip", "link", "delete", cable)
    run("ip", "netns", "add", namespace)
    run(*f"ip link add {cable} type veth peer name eth0 netns {namespace}".split())
    run(*f"ip link set {cable} master {BRIDGE} up".split())
    for command in ("link set lo up", "link set eth0 up", f"address add {address}/24 dev eth0"):
        run("ip", "-netns", namespace, *command.split())
    return namespace


def leave_network(name: str) -> None:
    quietly("ip", "netns", "delete", f"pdual-{name}")


@contextlib.contextmanager
def listener(name: str, address: str, port: int) -> Iterator[socket.socket]:
    """A socket of this process in the network of a service, in the place of which it answers."""
    namespace = join_network(name, address)
    made: list[socket.socket] = []

    def listen() -> None:  # a thread of its own: only its network changes
        with Path(f"/run/netns/{namespace}").open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server((address, port)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    if not made:
        raise Failed(f"nothing can listen in the place of {name}")
    try:
        with made[0]:
            yield made[0]
    finally:
        leave_network(name)


def mounts(service: Service, root: Path) -> list[str]:
    """Volumes as `SOURCE:TARGET:ro|rw`; a new one begins with what the image has in its place."""
    make_place(root / "etc/resolv.conf", is_folder=False)
    found = [f"{WORK / 'resolv.conf'}:/etc/resolv.conf:ro"]
    for mount in service.mounts:
        target = root / mount.target.lstrip("/")
        if mount.is_named:
            source = VOLUMES / mount.source
            if not source.exists():
                VOLUMES.mkdir(exist_ok=True)
                target.mkdir(parents=True, exist_ok=True)
                run("cp", "--archive", str(target), str(source))
        else:
            source = ROOT / mount.source
            make_place(target, is_folder=source.is_dir())
        found.append(f"{source}:{mount.target}:{'ro' if mount.is_read_only else 'rw'}")
    return found


def make_place(target: Path, *, is_folder: bool) -> None:
    """What is mounted needs something to be mounted on."""
    if is_folder:
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
