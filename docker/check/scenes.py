"""What is seen of the images: each scene starts services of the Compose files and asks them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from docker.check.containers import ADDRESSES, VOLUMES, Container, listener, network, running
from docker.check.images import Failed, configuration
from docker.check.services import Service, compose, service
from testbed.fake_engine import FakeEngine
from testbed.http import Answer, bearer, call, chat, put_persona

Say = Callable[[str], None]
BASE = "docker-compose.yml"
GATEWAY_PORT, ENGINE_PORT, PROMETHEUS_PORT = 8080, 8000, 9090
TRAINING_LIMIT_S = 900.0
SCRAPED_S = 90.0
SECRETS = {"REDIS_PASSWORD": "r" * 48, "ENGINE_API_KEY": "e" * 48, "GRAFANA_ADMIN_PASSWORD": "g"}
# What the images say of themselves for which Debian's packages stand in.
STANDS_FOR: dict[str, dict[str, Any]] = {
    "redis": {"WorkingDir": "/data"},
    "prometheus": {"Entrypoint": ["prometheus"], "WorkingDir": "/prometheus"},
}
# Two steps of Pocket's own recipe, on twelve of its rows and without its minutes of probing.
TWO_STEPS = """
personadual model build --untrained .personadual/models/untrained/pocket
head -n 12 training/pocket/data/train.jsonl > /tmp/items.jsonl
sed '/^probe/d; s#^data = .*#data = "/tmp/items.jsonl"#' configs/pocket-sft-cpu.toml \\
  > /tmp/two-steps.toml
exec personadual train sft /tmp/two-steps.toml
"""


class Scene:
    """Services that run together, started as `docker compose up --wait` starts them."""

    def __init__(self, said: dict[str, Any], images: Mapping[str, str], say: Say) -> None:
        self._said, self._images, self._say = said, images, say
        self.addresses = {name: f"{ADDRESSES}{10 + at}" for at, name in enumerate(said)}
        self.containers: dict[str, Container] = {}

    def url(self, name: str, port: int) -> str:
        return f"http://{self.addresses[name]}:{port}"

    @contextlib.contextmanager
    def up(self, names: Sequence[str], fakes: Sequence[str] = ()) -> Iterator[list[FakeEngine]]:
        """The services `names`, in this order, and fake engines in the place of `fakes`."""
        known = {name: self.addresses[name] for name in (*names, *fakes)}
        with network(known), contextlib.ExitStack() as end:
            engines = [self._fake(name, end) for name in fakes]
            for name in names:
                one = self._service(name)
                missing = set(one.needs) - self.containers.keys() - set(fakes)
                if missing:
                    raise Failed(f"{name} needs {missing}, which this scene has not started")
                begun = time.monotonic()
                starting = running(one, self._images[name], self.addresses[name])
                container = end.enter_context(starting)
                container.wait_healthy(begun)
                self.containers[name] = container
                became = "healthy" if one.health else "started"
                self._say(f"{name} is {became} after {time.monotonic() - begun:.0f} s")
            yield engines
            self._say(self._measures())
            for name in reversed(names):
                seconds = self.containers[name].stop()
                self._say(f"{name} ended {seconds:.1f} s after SIGTERM")

    def _fake(self, name: str, end: contextlib.ExitStack) -> FakeEngine:
        place = listener(name, self.addresses[name], ENGINE_PORT)
        engine = FakeEngine(listener=end.enter_context(place))
        engine.start()
        end.callback(engine.stop)
        return engine

    def _service(self, name: str) -> Service:
        image = STANDS_FOR.get(name) or configuration(self._images[name])
        return service(name, self._said[name], image)

    def _measures(self) -> str:
        peaks = [
            f"{name} {one.limits.peak_megabytes:.0f} of {one.service.memory_bytes / 1e6:.0f} MB,"
            f" {one.limits.now_pids} of {one.service.pids} threads"
            for name, one in self.containers.items()
        ]
        return "at most " + "; ".join(peaks)


def gateway(images: Mapping[str, str], say: Say) -> None:
    """The gateway's image over a fake engine, in a minute."""
    scene = Scene(compose(BASE), images, say)
    with scene.up(["redis", "gateway"], ["engine"]):
        url = scene.url("gateway", GATEWAY_PORT)
        put_persona(url, "ada", "Ada is vegan.")
        reply = served(chat(url, "What should I cook?", user="ada"))
        say(f"{reply['choices'][0]['message']['content']!r} {reply['personadual']}")


def stack(images: Mapping[str, str], say: Say) -> None:
    """docker-compose.yml, less Grafana: the engine asked by itself and through the gateway."""
    scene = Scene(compose(BASE), images, say)
    with scene.up(["redis", "engine", "gateway", "prometheus"]):
        straight = call(
            scene.url("engine", ENGINE_PORT),
            "/v1/chat/completions",
            {
                "messages": [{"role": "user", "content": "What is the capital of France?"}],
                "max_tokens": 40,
                "temperature": 0,
                "vllm_xargs": {"personadual_mode": "auto"},
            },
        )
        text = served(straight)["choices"][0]["message"]
        say(f"the engine by itself: {str(text.get('reasoning'))!r} {text['content']!r}")
        url = scene.url("gateway", GATEWAY_PORT)
        put_persona(url, "ada", "Ada is a vegan cook from Lisbon.")
        asked = {
            "What is the capital of France?": "general",
            "What should I cook tonight?": "personalized",
        }
        for question, mode in asked.items():
            reply = served(chat(url, question, user="ada", temperature=0))
            say(f"{question} {reply['choices'][0]['message']['content']!r} {reply['personadual']}")
            expect(reply["personadual"]["mode"] == mode, f"{question} is a {mode} question")
        expect(b"<!doctype html>" in call(url, "/").body.lower(), "the console is served")
        watch_prometheus(scene, say, ["gateway", "engine"], decisions=2)


def scale(images: Mapping[str, str], say: Say) -> None:
    """docker/scale.yml and docker/public.yml over it: router, two engines (fakes), secrets."""
    said = compose(BASE, "docker/scale.yml", "docker/public.yml", values=SECRETS)
    scene = Scene(said, images, say)
    with scene.up(["redis", "router", "gateway", "prometheus"], ["engine", "engine-2"]) as engines:
        url = scene.url("gateway", GATEWAY_PORT)
        expect(chat(url, "Hello").status == 401, "without a key nobody is served")
        made = scene.containers["gateway"].execute("personadual", "key", "create", "web")
        key = next((word for word in made.stdout.split() if word.startswith("pd-")), None)
        expect(key is not None, f"a key is made: {made.stderr}")
        for turn in range(8):
            reply = served(chat(url, f"Question {turn}", key=key))
        say(f"through the router: {reply['choices'][0]['message']['content']!r}")
        shown = {bearer(SECRETS["ENGINE_API_KEY"])["Authorization"]}
        for engine in engines:
            expect(bool(engine.script.seen), "both engines were asked")
            expect({one.get("Authorization") for one in engine.headers} == shown, "with its key")
        watch_prometheus(scene, say, ["gateway", "engine", "router"], decisions=8)


def train(images: Mapping[str, str], say: Say) -> None:
    """The service of the profile `train`, for two steps of Pocket's SFT."""
    said = compose(BASE)
    said["train"]["command"] = [TWO_STEPS]
    scene = Scene(said, images, say)
    with scene.up(["train"]):
        scene.containers["train"].wait_end(TRAINING_LIMIT_S)
        run = VOLUMES / "runs" / "pocket-sft"
        expect((run / "adapter" / "adapter_model.safetensors").is_file(), "an adapter is written")
        say(next(line for line in (run / "run.md").read_text().splitlines() if "steps" in line))


SCENES = {"gateway": gateway, "stack": stack, "scale": scale, "train": train}


def served(answer: Answer) -> Any:
    expect(answer.status == 200, f"an answer, not {answer.status} {answer.body[:300]!r}")
    return answer.json


def expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise Failed(f"not so: {what}")


def watch_prometheus(scene: Scene, say: Say, jobs: Sequence[str], decisions: int) -> None:
    """It has found every job by its name, and counts what the gateway decided."""
    url = scene.url("prometheus", PROMETHEUS_PORT)
    begun = time.monotonic()
    while True:
        up = {
            one["metric"]["job"]: float(one["value"][1]) for one in query(url, "min by (job) (up)")
        }
        counted = query(url, "sum(personadual_mode_decisions_total)")
        count = float(counted[0]["value"][1]) if counted else 0.0
        if all(up.get(job) == 1 for job in jobs) and count >= decisions:
            say(f"Prometheus has scraped {', '.join(jobs)}, and counts {count:.0f} decisions")
            return
        expect(time.monotonic() < begun + SCRAPED_S, f"Prometheus sees all: {up} {count}")
        time.sleep(2)


def query(url: str, expression: str) -> Any:
    return call(url, f"/api/v1/query?query={quote(expression)}").json["data"]["result"]
