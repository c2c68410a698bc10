"""The address of an endpoint, as users name it: for evaluation and for teachers alike."""

from __future__ import annotations

import pytest

from training.address import api_base


@pytest.mark.parametrize(
    ("named", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("https://host/openai/v2/", "https://host/openai/v2"),
    ],
)
def test_v1_is_added_where_there_is_no_path(named: str, base: str) -> None:
    assert api_base(named) == base
