"""SIGHUP: the policy file is read again; one that is wrong keeps the old one and says why."""

from __future__ import annotations

import signal
from pathlib import Path

from app.serve.reload import readers_of
from testbed.fake_engine import FakeEngine
from testbed.http import call, chat
from tests.conftest import RedisServer, wait_until
from tests.gateway_process import GatewayProcess
from tests.serve_process import Start, refusal, start  # noqa: F401 - a fixture
from tests.test_metrics import value


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def reloads(url: str, outcome: str) -> float:
    text = call(url, "/metrics").body.decode()
    return value(text, f'personadual_policy_reloads_total{{outcome="{outcome}"}}')


def test_a_gateway_reads_its_policy_again(
    fake: FakeEngine, redis_server: RedisServer, tmp_path: Path
) -> None:
    fake.reset()
    file = tmp_path / "policy.toml"
    file.write_text("")
    process = GatewayProcess(
        tmp_path / "gateway.log",
        engine_url=fake.url,
        redis_url=redis_server.url,
        policy=str(file),
        auth="off",
    )
    try:
        process.wait_ready()
        assert chat(process.url).json["personadual"]["source"] == "model"
        file.write_text("[deployment]\nmode = 'personalized'")
        process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: reloads(process.url, "applied") == 1)
        taken = chat(process.url).json["personadual"]
        assert (taken["mode"], taken["rule"]) == ("personalized", "deployment")
        assert '"action":"policy_applied"' in process.said
        file.write_text("[deployment]\nmode = 'okapi'")
        process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: reloads(process.url, "refused") == 1)
        assert chat(process.url).json["personadual"]["rule"] == "deployment"
        assert "the policy stays as it was" in process.said
        assert "deployment.mode" in process.said
    finally:
        process.end()


def test_serve_hands_it_on_to_all_its_workers(start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Each reads the file itself: none is replaced, so no stream is cut."""
    file = tmp_path / "policy.toml"
    file.write_text("")
    served = start("--workers", "2", PERSONADUAL_POLICY=str(file))
    served.wait_ready()
    gateway = next(pid for pid in served.children() if b"uvicorn" in cmdline(pid))
    wait_until(lambda: len(readers_of(gateway)) == 2)
    before = set(served.children())
    file.write_text("[deployment]\nmode = 'general'")
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads(served.url, "applied") == 2)
    sources = {chat(served.url).json["personadual"]["source"] for _ in range(20)}
    assert sources == {"policy"}
    assert set(served.children()) == before


def test_a_wrong_policy_at_the_start_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[deployment]\nmode = 'okapi'")
    assert "deployment.mode" in refusal("--data", str(tmp_path), PERSONADUAL_POLICY=str(file))
