"""Reply: `TAG reasoning "\\n\\n<answer>" answer "</answer>"`, parsed as it arrives.

The parser gives the same reply for every way of cutting the text, holds back no more than one
marker's length, and shows neither a tag nor an answer marker. It leaves the tag's ids to the
gate: here a tag is text.

What is outside the grammar stays readable: without an answer marker all text is the answer; a
marker elsewhere than at the start of a line is dropped and its surroundings kept; text behind
`</answer>` is not part of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

from model.mode import Mode, Tags

OPEN = "<answer>"
CLOSE = "</answer>"
MAX_BITE = 4_096
MARKER_BREAKS = 2
"""Line breaks before a marker that belong to it."""


class Part(StrEnum):
    """Which part of a reply a piece of text belongs to."""

    REASONING = "reasoning"
    ANSWER = "answer"


Piece = tuple[Part, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed reply. `is_complete` says that it held tag, `<answer>` and `</answer>`."""

    mode: Mode | None
    reasoning: str
    answer: str
    is_complete: bool


class _State(Enum):
    TAG = 0
    REASONING = 1
    ANSWER = 2
    DONE = 3


_BODY = frozenset({_State.REASONING, _State.ANSWER})


class ReplyParser:
    """Parses one reply from text pieces.

    `reasons` says whether the checkpoint reasons before it answers (its card knows). If so, text
    before the answer marker comes out as reasoning at once, and should the marker never come,
    `finish` gives all of it again as the answer. If not, all text comes out as the answer.
    """

    def __init__(self, tags: Tags, *, reasons: bool = True) -> None:
        self._tags = {tags[mode].strip(): mode for mode in Mode}
        self._reasons = reasons
        self._markers = _markers(tuple(self._tags))
        self._state = _State.TAG
        self._pending = ""
        self._skip_break = False
        self._is_body_begun = False
        self._is_closed = False
        self._reasoning: list[str] = []
        self._answer: list[str] = []
        self.mode: Mode | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known how the reply opened: with a tag (`mode`), or with none."""
        return self._state is not _State.TAG

    def feed(self, text: str) -> list[Piece]:
        """Take the next piece of text; return what became certain, in order."""
        if not text:
            return []
        if not self._pending and self._state in _BODY and not self._markers.begins.search(text):
            # Nearly every piece: no character in it could begin a marker, and none is waited for.
            self._skip_break = False
            pieces: list[Piece] = []
            self._emit(text, pieces)
            return pieces
        if len(text) > MAX_BITE:
            # What is left is copied at every marker: a whole text of them would cost its square.
            bites = (text[at : at + MAX_BITE] for at in range(0, len(text), MAX_BITE))
            return [piece for bite in bites for piece in self.feed(bite)]
        self._pending += text
        pieces = []
        if self._state is _State.TAG and not self._settle():
            return pieces
        while self._pending and self._state is not _State.DONE:
            if self._skip_break:
                self._skip_break = False
                self._pending = self._pending.removeprefix("\n")
                continue
            found = self._markers.whole.search(self._pending)
            if found is None:
                self._emit(self._take(len(self._pending) - self._held()), pieces)
                break
            self._cross(found, pieces)
        if self._state is _State.DONE:
            self._pending = ""
        return pieces

    def finish(self) -> list[Piece]:
        """The text is over: return what was held back, and settle what never came."""
        pieces: list[Piece] = []
        rest, self._pending = self._pending, ""
        # A lone "<" or "[" or a line break is text; more of a marker than that is half a marker.
        if self.is_settled and len(rest.strip("\n")) < 2:
            self._emit(rest, pieces)
        if self._state is _State.REASONING:
            self._answer, self._reasoning = self._reasoning, []
            if any(self._answer):
                pieces.append((Part.ANSWER, "".join(self._answer)))
        self._state = _State.DONE
        return pieces

    @property
    def reply(self) -> Reply:
        """What was parsed so far; after `finish`, the reply."""
        return Reply(
            self.mode,
            "".join(self._reasoning),
            "".join(self._answer),
            self.mode is not None and self._is_closed,
        )

    def _settle(self) -> bool:
        """Find out how the reply opens; False while it may still become a tag."""
        for tag, mode in self._tags.items():
            if self._pending.startswith(tag):
                self.mode = mode
                self._take(len(tag))
                self._skip_break = True
                break
            if tag.startswith(self._pending):
                return False
        self._state = _State.REASONING if self._reasons else _State.ANSWER
        return True

    def _cross(self, found: re.Match[str], pieces: list[Piece]) -> None:
        """Go past one whole marker."""
        before, marker = self._take(found.start()), found[0]
        self._take(len(marker))
        text = before.rstrip("\n")
        breaks = before[max(len(text), len(before) - MARKER_BREAKS) :]
        opens_line = bool(breaks) or (not self._is_body_begun and not before)
        self._emit(before[: len(before) - len(breaks)], pieces)
        if marker == OPEN and self._state is _State.REASONING and opens_line:
            self._state = _State.ANSWER
        elif marker == CLOSE and self._state is _State.ANSWER and self._reasons:
            self._state, self._is_closed = _State.DONE, True
        else:
            self._emit(breaks, pieces)
            self._skip_break = marker in self._tags

    def _held(self) -> int:
        """How many characters at the end may still become a marker."""
        tail = self._pending[-self._markers.longest :]
        found = self._markers.partial.search(tail)
        return len(tail) - found.start() if found else 0

    def _take(self, count: int) -> str:
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _emit(self, text: str, pieces: list[Piece]) -> None:
        if not text:
            return
        self._is_body_begun = True
        is_answer = self._state is _State.ANSWER
        (self._answer if is_answer else self._reasoning).append(text)
        pieces.append((Part.ANSWER if is_answer else Part.REASONING, text))


def parse_reply(text: str, tags: Tags | None = None, *, reasons: bool = True) -> Reply:
    """Parse a whole reply: for the trainer, the evaluator and unary requests."""
    parser = ReplyParser(tags or Tags(), reasons=reasons)
    parser.feed(text)
    parser.finish()
    return parser.reply


@dataclass(frozen=True, slots=True)
class _Markers:
    whole: re.Pattern[str]
    partial: re.Pattern[str]
    begins: re.Pattern[str]
    longest: int


_COMPILED: dict[tuple[str, ...], _Markers] = {}


def _markers(tags: tuple[str, ...]) -> _Markers:
    """Patterns for these tags, compiled once: a process meets the tags of one card."""
    if tags not in _COMPILED:
        texts = [OPEN, CLOSE, *tags]
        choices = "|".join(map(re.escape, texts))
        _COMPILED[tags] = _Markers(
            re.compile(choices),
            re.compile(rf"(?:\n{{1,2}}(?:{_prefixes(texts)})?|(?:{_prefixes(texts)}))\Z"),
            re.compile("[" + re.escape("".join({text[0] for text in texts})) + "\n]"),
            max(map(len, texts)) + MARKER_BREAKS,
        )
    return _COMPILED[tags]


def _prefixes(texts: Iterable[str]) -> str:
    """A pattern for every non-empty, proper beginning of the texts."""
    beginnings = {text[:end] for text in texts for end in range(1, len(text))}
    return "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))
