"""A policy's file: over HTTP, what it may say, and where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from app.access.policies import read_policy
from app.cli import app
from model.errors import PolicyInvalid
from testbed.fake_engine import FakeEngine, Script, sent
from testbed.http import bearer, call, chat
from tests.api_keys import new_key
from tests.conftest import RedisServer, Starter

FILE = """
[deployment]
threshold = 0.6

[tenants.bank]
mode = "general"
may_override = false

[[off]]
name = "minors"
attributes = { age_group = ["child", "teen"] }

[[off]]
name = "school-is-out"
tenants = ["school"]
"""


def test_a_file_over_http(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path: Path,
) -> None:
    """Each decision says which rule made it, and what is switched off stays off for all wishes."""
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    gateway = start_gateway(fake.url, policy=file)
    keys = {tenant: new_key(redis_server.url, tenant) for tenant in ("acme", "bank", "school")}
    script.logprobs = (-9.0, -1.0)
    for tenant, key in keys.items():
        for name, group in (("kim", "teen"), ("ada", "adult")):
            body = {"text": f"{name} of {tenant}", "attributes": {"age_group": group}}
            put = call(gateway.url, f"/v1/personas/{name}", body, method="PUT", headers=bearer(key))
            assert put.status == 200

    def taken(tenant: str, **fields: Any) -> Any:
        for stream in (False, True):
            answer = chat(gateway.url, key=keys[tenant], stream=stream, **fields)
            assert answer.status == 200, answer.body
            extension = answer.events[0]["personadual"] if stream else answer.json["personadual"]
        return extension

    assert taken("acme", user="ada")["source"] == "threshold"
    bank = taken("bank", user="ada")
    assert (bank["mode"], bank["source"], bank["rule"]) == ("general", "policy", "tenants.bank")
    for fields in ({}, {"personadual": {"mode": "personalized"}}, {"model": "pocket-personalized"}):
        minor = taken("acme", user="kim", **fields)
        assert (minor["mode"], minor["source"], minor["rule"]) == ("general", "policy", "minors")
        assert minor["persona"]["status"] == "withheld"
        assert "kim of acme" not in str(sent(script)["messages"])
    inline = taken("school", personadual={"persona": "okapi", "isolation": "shared"})
    assert (inline["rule"], inline["persona"]["status"]) == ("school-is-out", "withheld")
    assert "okapi" not in str(sent(script)["messages"])
    decided = call(
        gateway.url,
        "/v1/mode",
        {"messages": [{"role": "user", "content": "x"}], "user": "kim"},
        headers=bearer(keys["acme"]),
    )
    assert decided.json["personadual"]["rule"] == "minors"


def test_redis_away_may_refuse_for_one_tenant_alone(
    start_gateway: Starter,
    fake: FakeEngine,
    script: Script,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[tenants.bank]\nwhen_store_away = "refuse"\n')
    gateway = start_gateway(fake.url, policy=file)
    keys = [new_key(redis_server.url, tenant) for tenant in ("acme", "bank")]
    assert [chat(gateway.url, key=key).status for key in keys] == [200, 200]
    redis_server.stop()
    try:
        assert [chat(gateway.url, key=key, user="ada").status for key in keys] == [200, 503]
    finally:
        redis_server.start()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[deployment]\nmode = 'sometimes'", "deployment.mode"),
        ("[tenants.acme]\nthreshold = 2", "tenants.acme.threshold"),
        ("[keys.k]\nmay_override = 'no'", "keys.k.may_override"),
        ("[[off]]\nname = 'a b'\ntenants = ['x']", "off.0.name"),
        ("[[off]]\nname = 'x'", "off.0"),
        ("okapi = 1", "okapi"),
        ("[deployment]\nokapi = 1", "deployment.okapi"),
        ("[deployment", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, field: str) -> None:
    """By the command and by a gateway that starts."""
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(PolicyInvalid) as refused:
        read_policy(file)
    assert field in refused.value.message
    done = CliRunner().invoke(app, ["config", "check", str(file)])
    assert done.exit_code == 1
    assert field in done.output.replace("\n", "")


def test_a_good_file_is_said_to_be_so(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(FILE)
    done = CliRunner().invoke(app, ["config", "check", str(file)])
    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    assert "is a valid policy: 1 tenant, 0 keys, 2 off rules" in shown
    told = CliRunner().invoke(app, ["config", "check", str(file), "--json"])
    assert json.loads(told.stdout) == {"file": str(file), "tenants": 1, "keys": 0, "off": 2}
    missing = CliRunner().invoke(app, ["config", "check", str(tmp_path / "nothing.toml")])
    assert "cannot be read" in " ".join(missing.output.split())


def test_the_example_of_the_docs_is_valid(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    file = tmp_path / "policy.toml"
    file.write_text(docs.split("```toml\n")[1].split("```")[0])
    policy = read_policy(file)
    assert policy.tenants["bank"].may_override is False
    assert [rule.name for rule in policy.off] == ["minors", "school-is-out"]
