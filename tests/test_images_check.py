"""How `make images-check` reads the Compose files; what it sees then needs root and minutes."""

from __future__ import annotations

import pytest

from docker.check.scenes import BASE, SECRETS, STANDS_FOR
from docker.check.services import Mount, compose, service

IMAGE = {
    "Entrypoint": ["personadual"],
    "User": "10001:10001",
    "WorkingDir": "/var/lib/personadual",
    "Env": ["PATH=/opt/personadual/bin:/bin"],
    "Healthcheck": {
        "Test": ["CMD", "python3", "-c", "pass"],
        "Interval": 10_000_000_000,
        "StartPeriod": 30_000_000_000,
        "Retries": 6,
    },
}


def test_a_service_is_what_compose_says_over_its_image() -> None:
    one = service("gateway", compose(BASE)["gateway"], IMAGE)
    assert one.command == ("personadual", "gateway", "--host", "0.0.0.0", "--workers", "1")
    assert one.environment["PERSONADUAL_ENGINE_URL"] == "http://engine:8000"
    assert one.environment["PATH"] == "/opt/personadual/bin:/bin"
    assert one.mounts == (Mount("engine", "/var/lib/personadual", is_read_only=True),)
    assert (one.user, one.needs) == ("10001:10001", ("redis", "engine"))
    assert (one.memory_bytes, one.pids) == (1 << 30, 256)
    assert one.health is not None
    assert (one.health.test, one.health.patience_s) == (("python3", "-c", "pass"), 90.0)


def test_files_are_laid_over_each_other() -> None:
    """Maps are merged, lists replaced, and `$$` is a dollar."""
    said = compose(BASE, "docker/scale.yml", "docker/public.yml", values=SECRETS)
    gateway = said["gateway"]["environment"]
    assert gateway["PERSONADUAL_ENGINE_URL"] == "http://router:8000"
    assert gateway["PERSONADUAL_AUTH"] == "required"
    assert said["engine-2"]["environment"]["VLLM_API_KEY"] == SECRETS["ENGINE_API_KEY"]
    redis = service("redis", said["redis"], STANDS_FOR["redis"])
    assert '--requirepass "$REDISCLI_AUTH"' in redis.command[-1]
    assert redis.environment["REDISCLI_AUTH"] == SECRETS["REDIS_PASSWORD"]
    assert redis.health is not None
    assert redis.health.test[:2] == ("sh", "-c")


@pytest.mark.parametrize("missing", ["REDIS_PASSWORD", "ENGINE_API_KEY", "GRAFANA_ADMIN_PASSWORD"])
def test_a_missing_secret_is_refused(missing: str) -> None:
    with pytest.raises(KeyError, match=missing):
        compose(BASE, "docker/public.yml", values={**SECRETS, missing: ""})
