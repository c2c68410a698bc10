"""The limit on a request: wide enough for whatever wait an endpoint may ask of the client."""

from __future__ import annotations

from openai import AsyncOpenAI
from openai._models import FinalRequestOptions

from training.attempts import MAX_BACK_OFF_S, limit_s


def test_three_attempts_and_the_waits_between_them() -> None:
    assert limit_s(10, 0) == 20
    assert limit_s(10, 2) == 20 + 120 + 20 + 120 + 20


def test_the_client_waits_no_longer() -> None:
    """It does as it is told up to our figure, and goes back to its own few seconds beyond."""
    client = AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="unused")
    options = FinalRequestOptions(method="post", url="/")

    def waits(asked: float) -> float:
        return client._calculate_retry_timeout(1, options, {"retry-after": str(asked)})  # type: ignore[arg-type]

    assert waits(MAX_BACK_OFF_S) == MAX_BACK_OFF_S
    assert waits(MAX_BACK_OFF_S + 1) < 10
