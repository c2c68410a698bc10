"""What the engine sends, as far as the gateway reads it: decoded once, straight into these types.

An answer carries log-probabilities for every token, of which we need those at the tag; a typed
decoder skips the rest where a general one would build thousands of objects. A caller that asked
for log-probabilities itself gets them whole, by the `Full` decoders. Fields that are not named
here (vLLM's own: prompt token ids, routing, transfer parameters) do not reach the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

Usage = dict[str, Any]
L = TypeVar("L")
C = TypeVar("C")


class Rival(Struct, gc=False):
    """One candidate of a token."""

    logprob: float


class Entry(Struct, gc=False):
    """Log-probabilities at one token: its own, and those of the candidates, the taken one first."""

    logprob: float
    top_logprobs: list[Rival] = []


class Logprobs(Struct, Generic[L]):
    content: list[L] | None = None


class Unread(Struct, gc=False):
    """Log-probabilities that nobody reads."""


class Delta(Struct, omit_defaults=True):
    """A piece of a message. A call of a tool passes through as it is."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] = []
    refusal: str | None = None


class ChunkChoice(Struct, Generic[L]):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: L | None = None
    stop_reason: int | str | UnsetType | None = UNSET


class WholeChoice(Struct, Generic[L]):
    index: int
    message: dict[str, Any]
    finish_reason: str | None = None
    logprobs: Logprobs[L] | None = None
    stop_reason: int | str | UnsetType | None = UNSET
    token_ids: list[int] | UnsetType | None = UNSET
    personadual: Any | UnsetType = UNSET


class Answer(Struct, Generic[C]):
    """What a whole answer and each event of a stream have; `personadual` is ours."""

    id: str
    created: int
    model: str
    choices: list[C]
    object: str
    system_fingerprint: str | UnsetType | None = UNSET
    service_tier: str | UnsetType | None = UNSET
    usage: Usage | UnsetType | None = UNSET
    personadual: Any | UnsetType = UNSET


class Chunk(Answer[ChunkChoice[L]], Generic[L]):
    """One event of a stream; `personadual` stands on the first chunk of a choice."""

    object: str = "chat.completion.chunk"


class Completion(Answer[WholeChoice[L]], Generic[L]):
    """A whole answer."""

    object: str = "chat.completion"
    usage: Usage | None = None
    prompt_logprobs: Any | UnsetType = UNSET


Full = dict[str, Any]
"""A log-probability entry as the engine wrote it."""


def counted(usage: Mapping[str, Any] | None) -> tuple[int, int]:
    """The tokens of prompt and completion, as the engine counted them."""
    usage = usage or {}
    return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


_ENTRIES = b'"logprobs":{"content":['
_BETWEEN = b'}]},{"token":'
_BEHIND = b'}]}]},"finish_reason":'


def cut_entries(raw: bytes, keep: int) -> bytes:
    """Cut log-probability entries after the first `keep` of each choice out of an answer.

    Nine tenths of an answer with log-probabilities are entries that nobody reads, and decoding
    them is the largest cost of a request. vLLM writes JSON without spaces, and inside a JSON
    string a quotation mark has a backslash before it, so the three marks can only be structure.
    Where they are not found, nothing is cut.
    """
    kept, at = [], 0
    while (begin := raw.find(_ENTRIES, at)) >= 0:
        cut = begin
        for _ in range(keep):
            cut = raw.find(_BETWEEN, cut + 1)
            if cut < 0:
                break
        end = raw.find(_BEHIND, begin)
        if end < 0:
            break
        if 0 <= cut < end:
            kept.append(raw[at:cut])
            at = end
        else:
            kept.append(raw[at : begin + 1])
            at = begin + 1
    return b"".join([*kept, raw[at:]])


decode_chunk = msgspec.json.Decoder(Chunk[Logprobs[Entry]]).decode
decode_full_chunk = msgspec.json.Decoder(Chunk[Logprobs[Full]]).decode
decode_text_chunk = msgspec.json.Decoder(Chunk[Unread]).decode
decode_completion = msgspec.json.Decoder(Completion[Entry]).decode
decode_full_completion = msgspec.json.Decoder(Completion[Full]).decode
encode = msgspec.json.Encoder().encode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: for what is no JSON or no answer, no UTF-8, or nested without end."""
