"""JSON lines of personas: where gateway and commands agree, and how a stream is cut into lines."""

from __future__ import annotations

IMPORT_PATH, EXPORT_PATH = "/v1/personas/import", "/v1/personas/export"
JSON_LINES = "application/x-ndjson"
MAX_LINE_BYTES = 2_000_000
"""The largest persona fits, with every character of it written as an escape."""
MAX_ERRORS = 100
"""So many wrong lines are described; the others are counted."""


class LineSplitter:
    """Cuts a byte stream into lines. One that is over the limit comes as None; none of it stays."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> list[bytes | None]:
        """The lines that end in what has been received."""
        head, *tail = received.split(b"\n")
        self._grow(head)
        lines = []
        for part in tail:
            lines.append(self.end())
            self._grow(part)
        return lines

    def end(self) -> bytes | None:
        """The line that has been begun: the last one needs no line break."""
        line = None if self._size > self._max_bytes else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    def _grow(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            self._parts.clear()
        else:
            self._parts.append(part)
