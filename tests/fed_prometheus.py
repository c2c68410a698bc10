"""A real Prometheus, and what it is fed: an engine that never rests, a gateway under load."""

from __future__ import annotations

import http.server
import itertools
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.serve.preflight import free_port
from testbed.fake_engine import FakeEngine
from testbed.http import call, chat, put_persona
from tests.conftest import Gateway

ROOT = Path(__file__).parents[1]
SCRAPES = 10
VLLM = (ROOT / "tests" / "vllm_metrics.txt").read_text()


class Exporter:
    """Serves what vLLM said; with each scrape its counters have grown by as much again."""

    def __init__(self) -> None:
        scrapes = itertools.count(1)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = grown(next(scrapes)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def grown(times: int) -> str:
    def more(found: re.Match[str]) -> str:
        return f"{found[1]} {float(found[2]) * times}"

    return re.sub(r"(?m)^(vllm:\w+_(?:total|bucket|sum|count)\{.*\}) (\S+)$", more, VLLM)


class Load:
    """Asks a gateway for everything that a panel shows, again and again, until it is stopped."""

    def __init__(self, gateway: Gateway, fake: FakeEngine) -> None:
        self._url = gateway.url
        self._fake = fake
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for turn in itertools.count():
            if self._is_over.wait(0.02):
                return
            self._fake.script.logprobs = (-2.0, -1.0) if turn % 3 else (-1.0, -2.0)
            self._fake.script.untagged = turn % 20 == 7
            user = f"u{turn % 5}"
            put_persona(self._url, user, "Ada is vegan.")
            chat(self._url, user=user, stream=True)
            chat(self._url, user=user, personadual={"isolation": "strict"})
            chat(self._url, user=f"nobody{turn}", personadual={"mode": "general"})
            if turn % 10 == 3:
                chat(self._url, model="unknown")

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


class Prometheus:
    """A real one, with our rules, that scrapes and evaluates every second."""

    def __init__(self, program: str, folder: Path, targets: dict[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in targets.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "docker" / "rules" / "*.yml")],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self._process = subprocess.Popen(
            [program, *options, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that a query gives now."""
        answer = call(self.url, f"/api/v1/query?query={quote(expression)}").json
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def is_fed(self) -> bool:
        try:
            if call(self.url, "/-/ready").status != 200:
                return False
            scraped = self.ask(f"min(count_over_time(up[1m])) >= {SCRAPES}")
            return bool(scraped) and len(self.ask("up == 1")) == 2
        except OSError:
            return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
