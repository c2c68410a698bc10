"""`personadual serve`: its children and its end; engine and gateway alone.

The engine is the fake here, by PERSONADUAL_ENGINE_URL: starting and ending are the same for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.serve.child import Child
from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine
from testbed.http import call, chat, put_persona
from tests.conftest import RedisServer, wait_until
from tests.serve_process import Start, start

__all__ = ["start"]  # the fixture


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_serves_and_says_how(start: Start) -> None:
    """Progress with times, the URL, and examples that work when pasted."""
    served = start()
    said = served.wait_ready()
    assert "✓ Redis, which keeps the personas (" in said
    assert f"PersonaDual answers at {served.url}" in said
    curl = next(line.strip() for line in said.splitlines() if line.strip().startswith("curl"))
    done = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)
    assert '"Cook a stew."' in done.stdout
    lines = said.splitlines()
    first = next(i for i, line in enumerate(lines) if "from openai" in line)
    code = "\n".join(line.strip() for line in lines[first : first + 5])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Cook a stew." in done.stdout
    assert "'applied'" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_all_its_children(start: Start, number: int) -> None:
    served = start()
    served.wait_ready()
    children = served.children()
    assert len(children) >= 2
    assert served.end(number) == 0
    assert not any(map(is_alive, children))


def test_no_orphans_after_kill_9(start: Start) -> None:
    """The kernel tells the children that their parent died."""
    served = start("--workers", "2")
    served.wait_ready()
    children = served.children()
    assert len(children) >= 4
    served.end(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, children)), 15)


def test_a_child_that_dies_ends_the_whole(start: Start) -> None:
    """With its name and its last lines on the screen."""
    served = start()
    served.wait_ready()
    children = served.children()
    redis = next(p for p in children if "redis" in Path(f"/proc/{p}/cmdline").read_text())
    os.kill(redis, signal.SIGKILL)
    said, _ = served.process.communicate(timeout=30)
    assert served.process.returncode == 1
    assert "redis ended with status -9" in said
    assert "redis.sock" in said, "its own last lines"
    assert not any(map(is_alive, children))


def test_personas_survive_a_restart(start: Start) -> None:
    """The append-only file in the data folder."""
    first = start()
    first.wait_ready()
    put_persona(first.url, "ada", "Ada.")
    time.sleep(1.2)  # appendfsync everysec
    first.end(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, first.children())), 15)
    time.sleep(0.5)
    second = start()
    second.wait_ready()
    assert call(second.url, "/v1/personas/ada").json["text"] == "Ada."


@pytest.mark.parametrize("is_there", [False, True])
def test_nobody_else_reads_what_redis_writes(start: Start, tmp_path: Path, is_there: bool) -> None:
    """Also where an older version has left the folder open; Redis writes its files for all."""
    folder = tmp_path / "data" / "redis"
    if is_there:
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    served = start()
    served.wait_ready()
    put_persona(served.url, "ada", "Ada.")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert any(folder.iterdir()), "it is the folder that Redis writes to"


def test_several_workers_share_their_metrics(start: Start) -> None:
    served = start("--workers", "2")
    served.wait_ready()
    for _ in range(30):
        chat(served.url)
    wanted = 'personadual_requests_total{route="chat",status="200"} 30.0'
    wait_until(lambda: wanted in call(served.url, "/metrics").body.decode(), 3)


def test_a_second_one_on_the_same_data_is_refused(start: Start) -> None:
    """Two Redis on one append-only file lose personas."""
    start().wait_ready()
    second = start()
    said, _ = second.process.communicate(timeout=30)
    assert second.process.returncode == 1
    assert "another `personadual serve` uses the data folder" in said


def test_the_engine_alone_takes_the_place_of_its_command(tmp_path: Path) -> None:
    """`personadual engine` becomes vLLM, plug-ins and options included: the same process."""
    program = tmp_path / "vllm" / "entrypoints" / "openai" / "api_server.py"
    program.parent.mkdir(parents=True)
    for folder in list(program.parents)[:3]:
        (folder / "__init__.py").touch()
    program.write_text("import os, sys; print(os.getpid(), *sys.argv[1:])")
    checkpoint = tmp_path / "mine"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    options = ["--model", str(checkpoint), "--host", "0.0.0.0", "--engine-option=--max-num-seqs=3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "engine", *options],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=60)
    pid, *arguments = said.split()
    assert int(pid) == process.pid
    given = " ".join(arguments)
    assert f"--host 0.0.0.0 --port 8000 --model {checkpoint} --served-model-name mine" in given
    assert "--logits-processors model.gate:ModeGate" in given
    assert "--reasoning-parser personadual" in given
    assert given.endswith("--max-num-seqs=3")


def test_the_gateway_alone_takes_the_place_of_its_command(
    fake: FakeEngine, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`personadual gateway`: the same process, with as many workers as asked, ends at SIGTERM. Of
    folders in the temporary one there is its own alone, whatever earlier ones have left."""
    fake.reset()
    port = free_port()
    left = tmp_path / "personadual-gateway-left"
    (left / "metrics").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "gateway", "--port", str(port), "--workers", "2"],
        env={
            **os.environ,
            "PERSONADUAL_ENGINE_URL": fake.url,
            "PERSONADUAL_REDIS_URL": redis_server.url,
            "PERSONADUAL_NOTICE_S": "0",
            "TMPDIR": str(tmp_path),
        },
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_ready(url), 30)
        assert "uvicorn" in Path(f"/proc/{process.pid}/cmdline").read_text()
        (own,) = tmp_path.iterdir()
        assert own != left
        code = "from app.serve.gateway import scratch; scratch()"
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        assert own.exists(), "another that starts takes none that is in use"
        assert chat(url).json["choices"][0]["message"]["content"] == "Cook a stew."
    finally:
        process.terminate()
    assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def _is_ready(url: str) -> bool:
    try:
        return call(url, "/health/ready").status == 200
    except OSError:
        return False


def test_logs_are_bounded(tmp_path: Path) -> None:
    """A child that writes 30 MB leaves at most three files of 5 MB."""
    code = "import sys\nfor _ in range(300_000): sys.stdout.write('x' * 99 + '\\n')"
    child = Child("writer", [sys.executable, "-c", code], {}, tmp_path / "writer.log")
    child.start()
    wait_until(lambda: _has_ended(child), 60)
    child.stop()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 3
    assert max(sizes) <= 5_100_000


def _has_ended(child: Child) -> bool:
    return child.has_ended_well()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["model", "build", "--help"]]
)
def test_help_is_quick_and_whole(arguments: list[str]) -> None:
    """It loads neither torch nor vLLM, nor Redis' client, which vLLM's image has not."""
    code = (
        "import sys; from app.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'vllm', 'transformers', 'redis'} & set(sys.modules)"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
