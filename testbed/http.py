"""Small HTTP clients: raw enough to send what no SDK would."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream; the last must be `[DONE]` or an error."""
        payloads = [
            line.removeprefix("data: ")
            for line in self.body.decode().split("\n\n")
            if line.startswith("data: ")
        ]
        return [json.loads(payload) for payload in payloads if payload != "[DONE]"]

    @property
    def content(self) -> str:
        """The answer text of a stream."""
        deltas = [event["choices"][0]["delta"] for event in self.events if event.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)


def call(
    url: str,
    path: str,
    body: Any = None,
    *,
    method: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send JSON, or bytes as they are."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method or ("GET" if body is None else "POST"), path, raw, sent)
    response = connection.getresponse()
    answer = Answer(
        response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    )
    connection.close()
    return answer


def chat(url: str, content: str = "What now?", *, key: str | None = None, **fields: Any) -> Answer:
    """One chat completion."""
    body = {"messages": [{"role": "user", "content": content}], **fields}
    return call(url, "/v1/chat/completions", body, headers=bearer(key))


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def put_persona(url: str, persona_id: str, text: str, **fields: Any) -> Any:
    stored = call(url, f"/v1/personas/{persona_id}", {"text": text, **fields}, method="PUT")
    assert stored.status == 200, stored.body
    return stored.json
