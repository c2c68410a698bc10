"""Engine: the port behind which a language model answers OpenAI requests.

`model.vllm` is the adapter for vLLM's server. A fake of the tests speaks the same protocol over
HTTP behind the same adapter, so this port has one implementation.

Every call, and every step through a stream's events, raises a leaf of `EngineError`;
`InvalidRequest` where the body cannot be JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from model.mode import TagIds, Tags

Body = Mapping[str, Any]
Headers = Mapping[str, str]


def server_of(url: str) -> str:
    """The address of a server, by that of its API or its own: without `/v1` and last slash."""
    return url.rstrip("/").removesuffix("/v1")


class EngineStream(Protocol):
    """An accepted streaming request: events until the engine is done.

    `close` frees the engine's request at once; it is safe to call twice and after the end.
    """

    def events(self) -> AsyncIterator[list[bytes]]:
        """Payloads of `data:` events, without `[DONE]`, as many as one read brought.

        A stream that ends without `[DONE]`, or reports a failure, raises.
        """
        ...

    def close(self) -> None: ...


class Answering(Protocol):
    """The part of an engine that answers.

    Cancelling any call closes its connection, upon which the engine drops the request. `headers`
    go with the request; a trace has some.
    """

    async def complete(self, body: Body, headers: Headers | None = None) -> bytes:
        """Answer a chat completion that is not streamed: its JSON, for who asked to decode."""
        ...

    async def stream(self, body: Body, headers: Headers | None = None) -> EngineStream:
        """Open a streamed chat completion: returns once the engine has accepted it."""
        ...


class Engine(Answering, Protocol):
    """A whole engine."""

    async def models(self) -> list[dict[str, Any]]:
        """What the engine serves, as OpenAI model objects."""
        ...

    async def tag_ids(self, tags: Tags) -> TagIds:
        """Both tags in the vocabulary of the served checkpoint."""
        ...

    async def has_gate(self) -> bool:
        """Whether the engine decides modes; costs no token where it does."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
