"""A collector of OTLP over HTTP: takes what an exporter sends, keeps every byte, may misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SERVER, CLIENT, INTERNAL = 2, 3, 1
ERROR = 2


@dataclass(frozen=True)
class Span:
    """One span as it arrived."""

    name: str
    kind: int
    trace_id: str
    id: str
    parent: str
    begun_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    is_error: bool
    events: int
    service: dict[str, Any]


class OtlpReceiver:
    """Listens on a loopback port; `status` is what it answers, once `freed` is set."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.status = 200
        self.freed = threading.Event()
        self.freed.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.freed.wait(20)
                if receiver.status == 200 and self.path == "/v1/traces":
                    receiver.raw.append(sent)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.freed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> list[Span]:
        """All that have come, by the time at which they began."""
        return sorted(self._read(), key=lambda span: span.begun_ns)

    def _read(self) -> Iterator[Span]:
        for raw in list(self.raw):
            for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
                service = _attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield Span(
                            name=span.name,
                            kind=span.kind,
                            trace_id=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            begun_ns=span.start_time_unix_nano,
                            ended_ns=span.end_time_unix_nano,
                            attributes=_attributes(span.attributes),
                            is_error=span.status.code == ERROR,
                            events=len(span.events),
                            service=service,
                        )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
