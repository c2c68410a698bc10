"""The Compose files and Dockerfiles: well formed by their standards, and by the house's rules."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from docker.check.services import compose

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
BASE = ROOT / "docker-compose.yml"
OVERLAYS = sorted(DOCKER.glob("*.yml"))
FILES = [BASE, *(path for path in OVERLAYS if "services:" in path.read_text())]
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
VENDORED = resources.files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json"
SCHEMA = json.loads(VENDORED.read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]


class Loader(yaml.SafeLoader):
    """YAML with Compose's own tags, of which only the value matters here."""


for tag in ("!override", "!reset"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_sequence(node))


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(), Loader))


def services(*paths: Path) -> list[tuple[str, dict[str, Any]]]:
    return [item for path in paths for item in load(path)["services"].items()]


# What runs: the overlays' changes to services of the base are not whole services.
WHOLE = [(name, one) for name, one in services(*FILES) if "restart" in one]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_follow_the_compose_specification(path: Path) -> None:
    jsonschema.validate(load(path), SCHEMA)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_pass_the_linter(path: Path) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_service_is_these_five() -> None:
    """And a training, only when it is asked for."""
    running = {name for name, one in services(BASE) if "profiles" not in one}
    assert running == {"gateway", "engine", "redis", "prometheus", "grafana"}


@pytest.mark.parametrize(("name", "one"), WHOLE)
def test_every_service_is_hemmed_in(name: str, one: dict[str, Any]) -> None:
    """Nothing to write on, no capability, no new privilege, bounded logs and resources."""
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["logging"]["options"].keys() == {"max-size", "max-file"}
    assert one["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert one["restart"] == ("no" if "profiles" in one else "unless-stopped")


@pytest.mark.parametrize(("name", "one"), WHOLE)
def test_every_image_has_a_version_and_an_ordinary_user(name: str, one: dict[str, Any]) -> None:
    """Ours carry the version of the package; the user of ours stands in the Dockerfile."""
    image, version = one["image"].rsplit(":", 1)
    assert re.fullmatch(r"v?\d+\.\d+\.\d+[\w.-]*", version)
    if not image.startswith("personadual/"):
        assert re.fullmatch(r"[1-9]\d*:\d+", one["user"])
    elif image != "personadual/router":
        assert version.split("-")[0] == VERSION


@pytest.mark.parametrize("overlays", [[], ["gpu"], ["scale"], ["public"], ["scale", "public"]])
def test_what_is_built_is_never_asked_of_a_registry(overlays: list[str]) -> None:
    """Whoever owns `personadual` there would run code here. And who has an image alone, without
    a `build`, waits for the one of a service that builds it."""
    names = [f"docker/{name}.yml" for name in overlays]
    values = dict.fromkeys(re.findall(r"\$\{(\w+):\?", "".join(p.read_text() for p in FILES)), "x")
    merged = compose("docker-compose.yml", *names, values=values)
    built = {one["image"] for one in merged.values() if "build" in one}
    assert built
    for name, one in merged.items():
        if "build" in one:
            assert one.get("pull_policy") == "build", name
        elif one["image"].startswith("personadual/"):
            assert one["image"] in built, name
            assert one.get("pull_policy") == "never", name


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_no_image_runs_as_root_and_each_says_how_it_is(path: Path) -> None:
    """In every final stage; a training is watched by its end, not by its health."""
    text = path.read_text()
    finals = [stage for stage in re.split(r"(?m)^FROM ", text)[1:] if "ENTRYPOINT" in stage]
    assert finals
    for stage in finals:
        assert "USER 10001:10001" in stage
        assert "HEALTHCHECK" in stage or path.name == "training.Dockerfile"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dependencies_come_before_the_source(path: Path) -> None:
    """So that a change of the source builds in seconds. On vLLM's image none are installed."""
    text = path.read_text()
    for stage in re.split(r"(?m)^FROM ", text)[1:]:
        if "COPY app app" in stage and not stage.startswith(("dependencies AS build", "vllm/")):
            assert stage.index(".lock requirements/") < stage.index("COPY app app")


@pytest.mark.parametrize("name", ["engine", "training"])
def test_a_change_of_the_source_is_a_small_layer(name: str) -> None:
    """The large ones are their dependencies', and come first. It is copied: not every builder's
    cache sees that what is mounted into a RUN has changed."""
    text = (DOCKER / f"{name}.Dockerfile").read_text()
    final = re.split(r"(?m)^FROM ", text)[-1]
    assert final.index("--from=dependencies") < final.index("COPY --from=build /ours")
    assert "--mount" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ports_stay_on_the_loopback_address(path: Path) -> None:
    """Except in the file that is there to open one."""
    ports = [port for _, one in services(path) for port in one.get("ports", ())]
    if path.name == "public.yml":
        assert ports == ["${PERSONADUAL_BIND:-0.0.0.0}:${PERSONADUAL_PORT:-8080}:8080"]
    else:
        assert all(port.startswith("127.0.0.1:") for port in ports)


def test_an_open_port_asks_for_every_secret() -> None:
    """Nothing starts while one is missing, and each is given to both of its sides."""
    text = (DOCKER / "public.yml").read_text()
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|KEY))(.*?)\}", text)
    assert {name for name, _ in secrets} == {
        "REDIS_PASSWORD",
        "ENGINE_API_KEY",
        "GRAFANA_ADMIN_PASSWORD",
    }
    assert all(rest.startswith(":?") for _, rest in secrets)
    changed = load(DOCKER / "public.yml")["services"]
    assert changed["gateway"]["environment"]["PERSONADUAL_AUTH"] == "required"
    assert changed["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_every_engine_asks_for_the_key() -> None:
    """Whichever file opens what, and the gateway shows it to them."""
    base = load(BASE)["services"]
    second = load(DOCKER / "scale.yml")["services"]["engine-2"]
    keys = [one["environment"]["VLLM_API_KEY"] for one in (base["engine"], second)]
    keys.append(base["gateway"]["environment"]["PERSONADUAL_ENGINE_API_KEY"])
    assert keys == ["${ENGINE_API_KEY:-}"] * 3


def test_redis_may_write_its_log_anew() -> None:
    """Meanwhile each page that changes exists twice."""
    redis = load(BASE)["services"]["redis"]
    data = int(redis["command"][redis["command"].index("--maxmemory") + 1].removesuffix("mb"))
    limit = int(redis["deploy"]["resources"]["limits"]["memory"].removesuffix("m"))
    assert limit >= 2 * data


def test_grafana_keeps_its_data_source() -> None:
    """Which is a process of its own: there is room for it, and nothing unloads it for an update
    that fails on the read-only root (grafana#132528)."""
    grafana = load(BASE)["services"]["grafana"]
    assert grafana["deploy"]["resources"]["limits"] == {"cpus": "1", "memory": "1g", "pids": 512}
    assert grafana["environment"]["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


def test_who_needs_whom_waits_for_its_health() -> None:
    for _, one in WHOLE:
        for need in one.get("depends_on", {}).values():
            assert need == {"condition": "service_healthy"}
    base = load(BASE)["services"]
    for name in ("redis", "prometheus", "grafana"):
        assert "healthcheck" in base[name]
    assert base["gateway"]["depends_on"].keys() == {"redis", "engine"}


def test_every_value_that_can_be_set_is_in_the_example() -> None:
    """And nothing else is."""
    example = set(re.findall(r"(?m)^#(\w+)=", (ROOT / ".env.example").read_text()))
    used = set()
    for path in FILES:
        used |= set(re.findall(r"(?<!\$)\$\{(\w+)", path.read_text()))
    assert example == used | set(load(BASE)["x-pip"])


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"(?m)^([\w.-]+)==([^ \n]+)", (ROOT / "requirements" / lock).read_text())
    return {re.sub(r"[-_.]+", "-", one).lower(): version for one, version in found}


def named(*extras: str) -> set[str]:
    """The packages that pyproject.toml names, by extra."""
    optional = PROJECT["optional-dependencies"]
    return {re.split(r"[^\w-]", one)[0] for extra in extras for one in optional[extra]}


NEEDED = {re.split(r"[^\w-]", one)[0] for one in PROJECT["dependencies"]}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("gateway.lock", ()), ("engine-cpu.lock", ("engine-cpu",)), ("training-cpu.lock", ("train",))],
)
def test_an_images_lock_holds_all_that_it_needs(lock: str, extras: tuple[str, ...]) -> None:
    """And nothing that only development or tests use. Else: `make lock`."""
    needed = NEEDED | named(*extras)
    assert needed <= pins(lock).keys()
    shared_with_vllm = {"openai"}
    tools = named("dev", "conformance", "fuzz", "harness") - named("train") - shared_with_vllm
    assert tools & pins(lock).keys() == set()


@pytest.mark.parametrize(
    "lock", ["gateway.lock", "router.lock", "engine-cpu.lock", "training-cpu.lock"]
)
def test_what_is_tested_is_what_runs(lock: str) -> None:
    """At the versions of the development's. Else: `make lock`."""
    runs, development = pins(lock), {**pins("cpu.in"), **pins("head.txt")}
    shared = runs.keys() & development.keys()
    assert {name for name in shared if runs[name] != development[name]} == set()


def test_mounted_files_exist() -> None:
    """Docker makes an empty folder of one that does not."""
    for path in FILES:
        for _, one in services(path):
            for volume in one.get("volumes", ()):
                if volume.startswith("./"):
                    assert (ROOT / volume.split(":")[0]).exists(), volume


def test_the_build_context_holds_what_the_images_copy() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    for path in DOCKERFILES:
        for source in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", path.read_text()):
            for one in source.split():
                top = one.split("/")[0]
                assert top in allowed or (top == "requirements" and one.endswith(".lock"))
