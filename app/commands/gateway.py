"""How commands talk to a gateway: its address and key, one request at a time, plain errors.

By the standard library: a command asks one thing and ends, so it needs no event loop, no pool and
no import that takes longer than the question.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import typer

from model.console import harmless
from model.engine import server_of
from model.errors import GatewayRefused, GatewayUnavailable, InvalidRequest

DEFAULT_URL = "http://127.0.0.1:8080"
ANSWER_S = 15.0
MAX_ERROR_BYTES = 65_536
READ_BYTES = 65_536
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
JSON = "application/json"

Url = Annotated[str, typer.Option(envvar="PERSONADUAL_URL", show_envvar=True, help="The gateway.")]
Key = Annotated[
    str,
    typer.Option(
        envvar="PERSONADUAL_KEY", show_envvar=True, help="API key, where one is asked for."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class _StaysHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would carry the key to another host."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class Gateway:
    """A gateway at `url`, as the holder of `key`; an empty one is none."""

    def __init__(self, url: str, key: str = "") -> None:
        try:
            parts = urlsplit(url)
            (parts.hostname or "").encode("idna")
            is_usable = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            )
        except ValueError:
            is_usable = False
        if not is_usable:
            raise InvalidRequest("--url: give an address like http://127.0.0.1:8080")
        if not key.isascii() or any(character.isspace() for character in key):
            raise InvalidRequest("--key: this is not an API key; one reads pd-ID-SECRET")
        self.url = server_of(url)
        self.key_id = key.split("-")[1] if key.startswith("pd-") else ""
        self.has_key = bool(key)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        # What is on this machine is not behind a proxy.
        is_near = parts.hostname in ("localhost", "127.0.0.1", "::1")
        proxies = [urllib.request.ProxyHandler({})] if is_near else []
        self._opener = urllib.request.build_opener(_StaysHere, *proxies)

    def open(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        media_type: str = JSON,
        limit_s: float = ANSWER_S,
        takes: Sequence[int] = (),
    ) -> http.client.HTTPResponse:
        """The answer, to be read and closed; `limit_s` bounds the wait for each of its bytes.

        `takes`: error statuses that are an answer too.

        Raises:
            GatewayUnavailable: nobody answers there.
            GatewayRefused: the answer is an error.
        """
        headers = {**self._headers, "Content-Type": media_type}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=limit_s)
        except urllib.error.HTTPError as error:
            if error.code in takes:
                return cast("http.client.HTTPResponse", error)  # reads and closes like one
            with error:
                raise _refusal(self.url, error.code, error.read(MAX_ERROR_BYTES)) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._away(error) from error
        return response

    def read(self, method: str, path: str, body: bytes | None = None, **more: Any) -> bytes:
        """The whole answer; errors as of `open`."""
        response = self.open(method, path, body, **more)
        with response, self._whole():
            return response.read()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON that is answered to JSON; errors as of `open`."""
        sent = None if body is None else json.dumps(body).encode()
        return self.parsed(self.read(method, path, sent, **more))

    def parsed(self, raw: bytes) -> Any:
        """What an answer, or a line of it, says; errors as of `open`."""
        try:
            said = json.loads(raw)
        except ValueError as error:
            raise _stranger(self.url, OK) from error
        if failure := refusal_of(said, OK):
            raise failure
        return said

    def lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """The lines of an answer as they come, without their ends; errors as of `open`."""
        rest = b""
        with response, self._whole():
            # Not by iterating: that takes an answer that broke off for one that ended.
            while received := response.read1(READ_BYTES):
                *lines, rest = (rest + received).split(b"\n")
                yield from lines
        if rest:
            yield rest

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise GatewayUnavailable(f"the answer of {self.url} broke off") from error

    def _away(self, error: Exception) -> GatewayUnavailable:
        if isinstance(getattr(error, "reason", error), TimeoutError):
            return GatewayUnavailable(f"the gateway at {self.url} did not answer in time")
        return GatewayUnavailable(
            f"no gateway answers at {self.url}: start one (personadual serve), or name another with"
            " --url or PERSONADUAL_URL"
        )


def refusal_of(answer: Any, status: int) -> GatewayRefused | None:
    """The error object that an answer holds, with what may be done about it."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    message = harmless(error["message"])
    if status == UNAUTHORIZED:
        message += "; here it is given with --key or PERSONADUAL_KEY"
    return GatewayRefused(message, status=status)


def _refusal(url: str, status: int, raw: bytes) -> GatewayRefused:
    try:
        found = refusal_of(json.loads(raw), status)
    except ValueError:
        found = None
    return found or _stranger(url, status)


def _stranger(url: str, status: int) -> GatewayRefused:
    message = f"what answers at {url} (status {status}) is not a PersonaDual gateway: fix --url"
    return GatewayRefused(message, status=status)
