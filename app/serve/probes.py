"""Questions to what has been started: does it answer, and what does it say?"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from app.serve.preflight import ANSWER_S, DIRECT
from model.engine import server_of


def answers(url: str) -> bool:
    return ask(url)[0] == 200


def ask(url: str) -> tuple[int, str]:
    """Status and beginning of what is said at the address; 0 where nobody is there."""
    try:
        with DIRECT.open(url, timeout=ANSWER_S) as response:
            return response.status, response.read(2000).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(2000).decode(errors="replace")
    except (urllib.error.URLError, OSError):
        return 0, "nothing"


def models(url: str, api_key: str | None) -> list[dict[str, Any]]:
    """What the engine at the address serves."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    request = urllib.request.Request(f"{server_of(url)}/v1/models", headers=headers)
    with DIRECT.open(request, timeout=ANSWER_S) as response:
        return list(json.load(response)["data"])


def answers_ping(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False
