"""Personas from a file to a gateway and back, in pieces, each of which is kept once it is done."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from app.commands.gateway import OK, Gateway
from app.commands.journal import Journal, Progress
from app.jsonl import EXPORT_PATH, IMPORT_PATH, JSON_LINES, MAX_ERRORS, MAX_LINE_BYTES
from model.errors import GatewayRefused, GatewayUnavailable, InvalidRequest

PIECE_BYTES = 2_000_000
PIECE_LIMIT_S = 120.0
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each further attempt, where a gateway or its Redis is away for a moment."""
NOTE_EVERY = 1_000
UNAVAILABLE = 503

OnProgress = Callable[[Progress], None]
Report = dict[str, Any]


def import_journal(file: Path, gateway: Gateway) -> Journal:
    """The journal of a file's import; a file that has changed since is another one."""
    if not file.is_file():
        raise InvalidRequest(f"{file} cannot be read: there is no such file; a pipe goes by -")
    state = file.stat()
    of = {"size": state.st_size, "changed_ns": state.st_mtime_ns, **_whose(gateway)}
    return Journal(file.with_name(f"{file.name}.import"), of)


def export_journal(part: Path, gateway: Gateway) -> Journal:
    return Journal(part.with_name(f"{part.name}.export"), _whose(gateway))


@contextlib.contextmanager
def opened(file: Path, progress: Progress) -> Iterator[IO[bytes]]:
    """The file of an import, at the place where it goes on."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    with source:
        source.seek(progress.offset)
        yield source


def send(source: IO[bytes], gateway: Gateway, progress: Progress, on_progress: OnProgress) -> None:
    """Import from where `progress` stands, and move it after each piece.

    Raises:
        InvalidRequest: a line is so long that this can be no file of personas.
        GatewayUnavailable, GatewayRefused: also after several attempts.
    """
    for piece, lines in _pieces(source, progress.lines):
        report = _insistently(partial(_send_piece, gateway, piece))
        for error in report["errors"][: MAX_ERRORS - len(progress.errors)]:
            progress.errors.append({**error, "line": error["line"] + progress.lines})
        progress.offset += len(piece)
        progress.lines += lines
        progress.written += report["written"]
        progress.refused += report["refused"]
        on_progress(progress)


def fetch(gateway: Gateway, target: IO[bytes], progress: Progress, on_progress: OnProgress) -> None:
    """Export from where `progress` stands into `target`, and move it as lines are written.

    Raises:
        GatewayUnavailable, GatewayRefused: also after several attempts.
    """
    _insistently(lambda: _fetch_from(gateway, target, progress, on_progress))


def _fetch_from(
    gateway: Gateway, target: IO[bytes], progress: Progress, on_progress: OnProgress
) -> None:
    after = f"?after={quote(progress.last_id)}" if progress.last_id else ""
    response = gateway.open("GET", EXPORT_PATH + after, limit_s=PIECE_LIMIT_S)
    try:
        for line in gateway.lines(response):
            row = gateway.parsed(line)
            target.write(line + b"\n")
            progress.offset += len(line) + 1
            progress.lines += 1
            progress.written += "unreadable" not in row
            progress.refused += "unreadable" in row
            progress.last_id = row["id"]
            if progress.lines % NOTE_EVERY == 0:
                on_progress(progress)
    finally:
        on_progress(progress)


@contextlib.contextmanager
def part_of(file: Path, progress: Progress) -> Iterator[IO[bytes]]:
    """The file that an export grows in, cut to what is known to be whole."""
    try:
        with file.open("r+b" if progress.offset else "wb") as target:
            if target.seek(0, os.SEEK_END) < progress.offset:
                raise InvalidRequest(f"{file} is shorter than its journal says: remove both")
            target.truncate(progress.offset)
            target.seek(progress.offset)
            yield target
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be written: {error.strerror}") from error


def _pieces(source: IO[bytes], done_lines: int) -> Iterator[tuple[bytes, int]]:
    piece, lines = bytearray(), 0
    while line := source.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidRequest(
                f"line {done_lines + lines + 1} is over {MAX_LINE_BYTES} bytes: JSON lines have one"
                " persona on each"
            )
        piece += line
        lines += 1
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece), lines
            done_lines += lines
            piece, lines = bytearray(), 0
    if piece:
        yield bytes(piece), lines


def _send_piece(gateway: Gateway, piece: bytes) -> Report:
    answer = gateway.read("POST", IMPORT_PATH, piece, media_type=JSON_LINES, limit_s=PIECE_LIMIT_S)
    report: Report = gateway.parsed(answer)
    return report


def _insistently(attempt: Callable[[], Any]) -> Any:
    for wait_s in (*WAITS_S, None):
        try:
            return attempt()
        except (GatewayUnavailable, GatewayRefused) as error:
            is_passing = getattr(error, "status", UNAVAILABLE) in (OK, UNAVAILABLE)
            if not is_passing or wait_s is None:
                raise
        time.sleep(wait_s)
    return None


def _whose(gateway: Gateway) -> dict[str, str]:
    """Another gateway or another key may mean other personas."""
    return {"url": gateway.url, "key_id": gateway.key_id}
