"""Callers below HTTP: slow ones, endless ones, many idle ones. None costs the others anything."""

from __future__ import annotations

import http.client
import io
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.http.connection import Connection, fitting_connections
from testbed.fake_engine import FakeEngine, Script
from testbed.http import Answer, call, chat
from tests.conftest import Gateway, Starter, wait_until
from tests.test_gateway_edges import body
from tests.test_metrics import value

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
IDLE = 400
OUR_ID = re.compile("req-[0-9a-f]{24}")


class Hasty(Connection):
    """Waits not ten seconds, but a moment."""

    window_s = 0.4


@pytest.fixture
def hasty(start_gateway: Starter, fake: FakeEngine, script: Script) -> Gateway:
    return start_gateway(fake.url, http=Hasty)


def connected(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


class _Said:
    """Bytes, as `http.client` wants them."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._said)


def rest(connection: socket.socket) -> bytes:
    """All that is still said, until the other side closes."""
    said = b""
    try:
        while got := connection.recv(65_536):
            said += got
    except ConnectionError:
        pass
    return said


def first(said: bytes) -> Answer:
    response = http.client.HTTPResponse(_Said(said))  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): text for name, text in response.getheaders()}
    return Answer(response.status, headers, response.read())


def drip(connection: socket.socket, raw: bytes) -> float:
    """Send a byte every twentieth of a second until the other side closes; how long it took."""
    begun = time.monotonic()
    for byte in raw:
        try:
            connection.sendall(bytes([byte]))
            connection.setblocking(False)
            connection.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            time.sleep(0.05)
        except ConnectionError:
            break
    connection.settimeout(10)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "ready",
    [b"GET /", HEAD, HEAD + b"Content-Length: 9000\r\n\r\n", HEAD + b"Cookie: "],
)
def test_a_request_that_drips_is_dropped(hasty: Gateway, ready: bytes) -> None:
    """In its line, between headers, in a header, in its body: 408, soon."""
    with connected(hasty) as connection:
        connection.sendall(ready)
        assert drip(connection, b"X" * 200) < 2
        answer = first(rest(connection))
        assert (answer.status, answer.json["error"]["code"]) == (408, "too_slow")
        assert OUR_ID.fullmatch(answer.headers["x-request-id"])
    wait_until(lambda: "personadual_inflight 0.0" in metrics(hasty), 2)


@pytest.mark.parametrize("rest_of_head", [b"X-A: a\r\nX-B", b"Content-Length: 9000\r\n\r\n"])
def test_a_refusal_bears_the_callers_id(hasty: Gateway, rest_of_head: bytes) -> None:
    """Of the request that is refused, not of the one before it on the same connection."""
    with connected(hasty) as connection:
        connection.sendall(
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: one\r\n\r\n"
        )
        assert b"x-request-id: one" in connection.recv(65_536)
        connection.sendall(HEAD + b"X-Request-Id: two\r\n" + rest_of_head)
        answer = first(rest(connection))
        assert (answer.status, answer.headers["x-request-id"]) == (408, "two")


def test_a_second_request_that_drips_is_dropped(hasty: Gateway) -> None:
    with connected(hasty) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.1)
        assert drip(connection, b"GET /" + b"x" * 200) < 2
        assert b" 408 " in rest(connection)


def test_a_caller_that_says_nothing_is_dropped_without_a_word(hasty: Gateway) -> None:
    """A client that connects ahead would take words for the answer to its first request."""
    with connected(hasty) as connection:
        assert rest(connection) == b""


def test_the_engine_may_take_its_time(hasty: Gateway, script: Script) -> None:
    """What has arrived waits as long as it must; so does a second request behind it."""
    script.delay_s = 0.1
    raw = body()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(raw) + raw
    with connected(hasty) as connection:
        connection.sendall(request + request[:-5])
        time.sleep(0.6)
        connection.sendall(request[-5:])
        said = b""
        while said.count(b"HTTP/1.1 200 OK") < 2:
            got = connection.recv(65_536)
            assert got, said
            said += got
    assert len(script.seen) == 2


def test_an_upload_that_comes_on_is_heard_out(hasty: Gateway, script: Script) -> None:
    """A thousand bytes a second are enough, however long the whole takes."""
    raw = body(pad="x" * 2_000)
    with connected(hasty) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(raw))
        for at in range(0, len(raw), 200):
            connection.sendall(raw[at : at + 200])
            time.sleep(0.12)
        assert first(rest(connection)).status == 200


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_upload_is_none_of_our_own_time(gateway: Gateway, script: Script, framing: str) -> None:
    """The caller's half second shows neither in the header nor in the metric."""
    raw = body()
    how, pieces = {
        "length": (b"Content-Length: %d" % len(raw), [raw[:9], raw[9:]]),
        "chunks": (
            b"Transfer-Encoding: chunked",
            [b"9\r\n%b\r\n" % raw[:9], b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw) - 9, raw[9:])],
        ),
    }[framing]
    with connected(gateway) as connection:
        connection.sendall(HEAD + how + b"\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            time.sleep(0.25)
            connection.sendall(piece)
        answer = first(rest(connection))
    assert answer.status == 200
    assert float(answer.headers["x-personadual-overhead-ms"]) < 200
    assert value(metrics(gateway), "personadual_overhead_seconds_sum") < 0.2


ENDLESS = {
    "a header": b"X-A: " + b"x" * 70_000,
    "many headers": b"X-A: x\r\n" * 9_000,
    "a header without end": b"X-A: " + b"x" * 9_000_000,
    "headers without end": b"X-A: xxxxxxxxxxx\r\n" * 500_000,
    "trailers without end": b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: x\r\n" * 99_000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_head_has_its_limit(gateway: Gateway, name: str) -> None:
    """431, before it is stored: also where it would never end."""
    with connected(gateway) as connection:
        try:
            connection.sendall(HEAD + ENDLESS[name] + b"\r\n\r\n")
        except ConnectionError:
            return  # it closed while we still sent
        said = rest(connection)
        assert not said or first(said).json["error"]["code"] == "head_too_large"


def test_a_head_of_many_keys_fits(gateway: Gateway, script: Script) -> None:
    """Cookies and tokens of a company's proxies: 60,000 bytes."""
    answer = call(gateway.url, "/v1/models", headers={"Cookie": "x" * 60_000})
    assert answer.status == 200
    assert call(gateway.url, "/v1/models?" + "x" * 60_000).status == 200


NO_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
    "NUL in a header": HEAD + b"X-A: a\x00b\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a chunk beyond 64 bits": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff1\r\n",
    "a chunk of no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused(gateway: Gateway, name: str) -> None:
    """400 in our shape, once, and the connection closes: nothing is left to smuggle in."""
    with connected(gateway) as connection:
        connection.sendall(NO_HTTP[name])
        answer = first(rest(connection))
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        assert OUR_ID.fullmatch(answer.headers["x-request-id"])
    assert call(gateway.url, "/health/live").status == 200


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_another_protocol_is_not_taken(
    gateway: Gateway, script: Script, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is answered in this one, as clients expect that offer another with each."""
    offer = {"Connection": "Upgrade", "Upgrade": protocol}
    assert call(gateway.url, "/v1/models", headers=offer).status == 200
    assert not caplog.text


def test_a_body_is_waited_for_where_the_caller_asks_first(gateway: Gateway, script: Script) -> None:
    raw = body()
    head = HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with connected(gateway) as connection:
        connection.sendall(head % len(raw))
        assert b" 100 Continue" in connection.recv(1_000)
        connection.sendall(raw)
        assert first(rest(connection)).status == 200


@pytest.fixture
def few_files() -> Iterator[None]:
    """Leaves room for some connections more than are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_connections_than_files_allow(
    gateway: Gateway, script: Script, few_files: None
) -> None:
    """The last ones are told so, at once; when others go there is room again."""
    with ExitStack() as held:
        kept = [held.enter_context(connected(gateway)) for _ in range(fitting_connections())]
        with connected(gateway) as one_more:
            answer = first(rest(one_more))
        assert (answer.status, answer.json["error"]["code"]) == (503, "full")
        assert int(answer.headers["retry-after"]) > 0
        assert OUR_ID.fullmatch(answer.headers["x-request-id"])
        assert kept
    wait_until(lambda: chat(gateway.url).status == 200, 5)


def test_idle_connections_cost_nothing(gateway: Gateway, script: Script) -> None:
    """Hundreds that say nothing: the next caller is answered as quickly as before."""
    chat(gateway.url)
    with ExitStack() as held:
        for _ in range(IDLE):
            held.enter_context(connected(gateway))
        begun = time.monotonic()
        assert chat(gateway.url).status == 200
        assert time.monotonic() - begun < 1.0


def metrics(gateway: Gateway) -> str:
    return call(gateway.url, "/metrics").body.decode()
