"""Personas as JSON lines: an upload read as it comes, a download written as it is read.

Neither is ever held whole: one batch of personas is, and of a line no more than the longest one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import orjson
from pydantic import TypeAdapter

from app.errors import to_http
from app.http.parts import parsed_object, validated
from app.jsonl import MAX_ERRORS, MAX_LINE_BYTES, LineSplitter
from app.personas import Entry, PersonaCache, PersonaStore, Stored
from app.schemas import ImportReport, LineError, PersonaLine
from model.errors import InvalidRequest, StoreUnavailable
from model.persona import Persona, check_id

# A batch is one script of Redis, which does nothing else meanwhile: some milliseconds.
BATCH_LINES = 100
BATCH_BYTES = 200_000
# Where an id would stand the words name routes, and the dots are taken out of a path by clients.
RESERVED_IDS = frozenset({"import", "export", ".", ".."})
_LINE = TypeAdapter(PersonaLine)
_MARK = b"\xef\xbb\xbf"
"""What some editors open a UTF-8 file with."""


def check_new_id(persona_id: str, field_name: str) -> str:
    """Return an id under which a persona may be written.

    Raises:
        InvalidRequest: it is malformed, or could not be reached by its path.
    """
    if persona_id in RESERVED_IDS:
        raise InvalidRequest(
            f"{field_name}: no persona can be called {persona_id}", field=field_name
        )
    return check_id(persona_id, field_name)


class Import:
    """One upload into a tenant's personas. A line that is wrong is reported and stops nothing."""

    def __init__(self, store: PersonaStore, cache: PersonaCache, tenant: str) -> None:
        self._store = store
        self._cache = cache
        self._tenant = tenant
        self._batch: list[Entry] = []
        self._batch_lines = 0
        self._batch_bytes = 0
        self._done = ImportReport(lines=0, written=0, refused=0, errors=[])

    async def read(self, upload: AsyncIterable[bytes]) -> ImportReport:
        """Write what comes, a batch at a time.

        Raises:
            StoreUnavailable: the store is away; the message says which lines are written.
        """
        splitter = LineSplitter()
        async for received in upload:
            for line in splitter.feed(received):
                await self._take(line)
        if last := splitter.end():
            await self._take(last)
        await self._write()
        return self._done

    async def _take(self, line: bytes | None) -> None:
        number = self._done.lines + self._batch_lines
        self._batch_lines += 1
        if line is None or line.strip():
            try:
                self._batch.append(_entry(line if number else _unmarked(line)))
            except InvalidRequest as error:
                self._refuse(number + 1, error)
            self._batch_bytes += len(line or b"")
        if self._batch_lines >= BATCH_LINES or self._batch_bytes >= BATCH_BYTES:
            await self._write()

    async def _write(self) -> None:
        done = self._done
        if self._batch:
            try:
                await self._store.put_many(self._tenant, self._batch)
            except StoreUnavailable as error:
                so_far = f"{done.written} personas are written, of the first {done.lines} lines"
                raise StoreUnavailable(f"{error.message}; {so_far}") from error
            for entry in self._batch:
                self._cache.forget((self._tenant, entry.id))
        else:
            await asyncio.sleep(0)  # others get their turn, however much rubbish comes
        done.written += len(self._batch)
        done.lines += self._batch_lines
        self._batch, self._batch_lines, self._batch_bytes = [], 0, 0

    def _refuse(self, number: int, error: InvalidRequest) -> None:
        self._done.refused += 1
        if len(self._done.errors) < MAX_ERRORS:
            found = LineError(line=number, field=error.field or "line", message=error.message)
            self._done.errors.append(found)


def _unmarked(line: bytes | None) -> bytes | None:
    return line and line.removeprefix(_MARK)


def _entry(line: bytes | None) -> Entry:
    if line is None:
        raise InvalidRequest(f"the line is over the limit of {MAX_LINE_BYTES} bytes", field="line")
    body: PersonaLine = validated(_LINE, parsed_object(line, "line"))
    persona_id = check_new_id(body.id, "id")
    return Entry(persona_id, Persona(body.text, body.attributes), body.ttl_s)


async def open_export(
    store: PersonaStore, tenant: str, after: str | None
) -> AsyncGenerator[bytes, None]:
    """All personas after `after`, in the order of their ids, as pieces of a JSON lines text.

    A failure on the way is its last line: `{"error": ...}`.

    Raises:
        StoreUnavailable: nothing can be read; later failures are written, not raised.
    """
    first, next_after = await store.read_page(tenant, after, BATCH_LINES)
    return _export(store, tenant, first, next_after)


async def _export(
    store: PersonaStore, tenant: str, page: list[Stored], after: str | None
) -> AsyncGenerator[bytes, None]:
    yield b"".join(map(_line, page))
    while after is not None:
        try:
            page, after = await store.read_page(tenant, after, BATCH_LINES)
        except StoreUnavailable as error:
            yield to_http(error).to_json() + b"\n"
            return
        yield b"".join(map(_line, page))


def _line(stored: Stored) -> bytes:
    content: dict[str, Any] = {"id": stored.id}
    persona = stored.persona
    if persona is None:
        # An import reports such a line, so that nobody misses the persona unaware.
        content["unreadable"] = True
    else:
        content |= {
            "text": persona.text,
            "attributes": dict(persona.attributes),
            "version": persona.version,
            "updated_at": persona.updated_at,
        }
    if stored.ttl_s is not None:
        content["ttl_s"] = stored.ttl_s
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
