"""The openai client of an endpoint, for evaluation and for teachers alike: the address as users
name it, and a limit wide enough for whatever wait an endpoint may ask of the client."""

from __future__ import annotations

import pytest
from openai._models import FinalRequestOptions

from training.openai_client import MAX_BACK_OFF_S, limit_s, open_client


@pytest.mark.parametrize(
    ("named", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/"),
        ("https://host/openai/v2/", "https://host/openai/v2/"),
    ],
)
def test_v1_is_added_where_there_is_no_path(named: str, base: str) -> None:
    client = open_client(named, api_key="unused", timeout_s=10, retries=2)
    assert (str(client.base_url), client.timeout, client.max_retries) == (base, 10, 2)


def test_three_attempts_and_the_waits_between_them() -> None:
    assert limit_s(10, 0) == 20
    assert limit_s(10, 2) == 20 + 120 + 20 + 120 + 20


def test_the_client_waits_no_longer() -> None:
    """It does as it is told up to our figure, and goes back to its own few seconds beyond."""
    client = open_client("http://127.0.0.1:9", api_key="unused", timeout_s=10, retries=2)
    options = FinalRequestOptions(method="post", url="/")

    def waits(asked: float) -> float:
        return client._calculate_retry_timeout(1, options, {"retry-after": str(asked)})  # type: ignore[arg-type]

    assert waits(MAX_BACK_OFF_S) == MAX_BACK_OFF_S
    assert waits(MAX_BACK_OFF_S + 1) < 10
