"""What is fuzzed: readers of bytes that others write. Each takes any bytes, and raises nothing.

Of a fuzzed input the first bytes say how it is cut, the rest is the input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from app.chat import wire
from model.mode import Tags
from model.reply import Part, ReplyParser
from model.vllm import EventSplitter

CORPUS = Path(__file__).parent / "corpus"
CUTS = 4


def events(data: bytes) -> None:
    """The reader of server-sent events: the same events for every way of cutting the stream."""
    raw = data[CUTS:]
    whole, cut = EventSplitter(), EventSplitter()
    expected = whole.feed(raw)
    found = [payload for piece in _pieces(data) for payload in cut.feed(piece)]
    assert (found, cut.is_done) == (expected, whole.is_done)
    for payload in expected:
        assert payload.startswith(b"{")
        assert b"\n\n" not in payload
        for decode in (wire.decode_chunk, wire.decode_full_chunk, wire.decode_text_chunk):
            with contextlib.suppress(*wire.UNREADABLE):
                wire.encode(decode(payload))


def replies(data: bytes) -> None:
    """The reply parser: the same reply for every way of cutting it, and no marker shown."""
    text = data[CUTS:].decode("utf-8", "replace")
    for reasons in (True, False):
        whole, cut = ReplyParser(Tags(), reasons=reasons), ReplyParser(Tags(), reasons=reasons)
        shown = [*whole.feed(text), *whole.finish()]
        for begin, end in pairwise(_edges(data, len(text))):
            cut.feed(text[begin:end])
        cut.finish()
        assert cut.reply == whole.reply
        answer = "".join(piece for part, piece in shown if part is Part.ANSWER)
        assert answer == whole.reply.answer
        spans = "".join(text[begin:end] for begin, end in whole.answer_spans)
        assert spans == answer
        assert len(whole.reply.reasoning) + len(answer) <= len(text)


TARGETS: dict[str, Callable[[bytes], None]] = {"events": events, "replies": replies}


def seeds(name: str) -> list[bytes]:
    """The corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def _edges(data: bytes, length: int) -> list[int]:
    places = (byte * (length + 1) // 256 for byte in data[:CUTS])
    return [0, *sorted(places), length]


def _pieces(data: bytes) -> Iterator[bytes]:
    raw = data[CUTS:]
    for begin, end in pairwise(_edges(data, len(raw))):
        yield raw[begin:end]
