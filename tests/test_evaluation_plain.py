"""An endpoint that takes no temperature, max_tokens or seed, as some reasoning models."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation_bench import bench
from tests.simulated_endpoint import facts

FIELDS = frozenset({"temperature", "max_tokens", "seed"})


def test_an_endpoint_that_refuses_every_request_is_asked_plainly(tmp_path: Path) -> None:
    """The note names the option; with it all goes well, as a run of its own."""
    with bench(tmp_path, facts(4)) as found:
        found.served.refuses = FIELDS
        said = found.call()
        assert "Every request was refused (status 400)" in said
        assert "--plain sends none of them" in said
        assert "is_plain was False, is True" in found.call("--plain", status=1)
        found.out = tmp_path / "plain"
        said = found.call("--plain", "--seeds", "2")
        assert "2 seeds at the endpoint's own temperature" in said
        assert found.value("accuracy", "auto/shared", "none", "exact") == 1.0
        assert len(found.served.bodies) == 2 * 3 * 4
        assert not any(FIELDS & body.keys() for body in found.served.bodies)


def test_a_temperature_is_not_sent_plainly(tmp_path: Path) -> None:
    with bench(tmp_path, facts(1)) as found:
        said = found.call("--plain", "--temperature", "1", status=2)
        assert "is not sent with --plain" in said
        assert not found.served.seen
