"""A TCP proxy in front of Redis or an engine, which delays, cuts, corrupts or drops."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Fault:
    """What happens to what the server sends; tests change it, connections see it at once."""

    delay_s: tuple[float, float] = (0.0, 0.0)  # of each piece: from, to
    piece_bytes: int | None = None  # pieces as small as this, each sent on its own
    is_mute: bool = False  # nothing comes any more, and nothing is closed
    is_garbled: bool = False  # one bit of every byte is another
    cut_after: int | None = None  # bytes of a connection after which it breaks
    refuses: bool = False  # new connections are reset


class Proxy:
    """Listens at `port` in a thread of its own, and relays to a port of this machine."""

    def __init__(self, target: int) -> None:
        self.fault = Fault()
        self.port = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._random = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def drop(self) -> None:
        """Reset all connections."""
        self._loop.call_soon_threadsafe(self._abort_all)

    async def _end(self) -> None:
        self._server.close()
        self._abort_all()
        await asyncio.sleep(0.05)  # what has just been accepted ends by itself

    def _abort_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = self._loop.run_until_complete(starting)
        self.port = self._server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault.refuses:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, to_server}
        ways = [
            asyncio.create_task(_relay(reader, to_server)),
            asyncio.create_task(self._relay_faulty(from_server, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, to_server):
            end.close()
            self._open.discard(end)

    async def _relay_faulty(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        count = 0
        while received := await reader.read(65_536):
            step = self.fault.piece_bytes or len(received)
            for begin in range(0, len(received), step):
                piece = received[begin : begin + step]
                await asyncio.sleep(self._random.uniform(*self.fault.delay_s))
                if self.fault.is_mute:
                    await asyncio.sleep(3600)
                if self.fault.is_garbled:
                    piece = bytes(byte ^ 4 for byte in piece)
                if self.fault.cut_after is not None:
                    piece = piece[: max(0, self.fault.cut_after - count)]
                count += len(piece)
                writer.write(piece)
                await writer.drain()
                if count == self.fault.cut_after:
                    return


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()


@contextlib.contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """A proxy to the port that ends an address, `redis://` or `http://`."""
    proxy = Proxy(int(url.rsplit(":", 1)[1].split("/")[0]))
    proxy.start()
    yield proxy
    proxy.stop()
