"""Reply: `TAG reasoning "\\n\\n<answer>" answer "</answer>"`, parsed as it arrives.

The parser gives the same reply for every way of cutting the text, holds back no more than one
marker's length, and shows neither a tag nor an answer marker. It leaves the tag's ids to the
gate: here a tag is text.

What is outside the grammar stays readable: without an answer marker all text is the answer; a
marker elsewhere than at the start of a line is dropped and its surroundings kept; text behind
`</answer>` is not part of the reply. Where a grammar holds the answer, `</answer>` ends nothing: it
stands where the model wanted to stop and the grammar did not let it (in a JSON string, say), and
is dropped like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache

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
Span = tuple[int, int]
"""Where a stretch of text begins and ends, in characters of the reply as the model wrote it."""


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
    `has_grammar`: the answer begins and ends where its grammar does.
    """

    def __init__(self, tags: Tags, *, reasons: bool = True, has_grammar: bool = False) -> None:
        self._tags = {tags[mode].strip(): mode for mode in Mode}
        self._reasons = reasons
        self._has_grammar = has_grammar
        self._is_ended_by_marker = reasons and not has_grammar
        self._markers = _markers(tuple(self._tags))
        self._state = _State.TAG
        self._pending = ""
        self._taken = 0
        self._spans: dict[Part, list[Span]] = {part: [] for part in Part}
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

    @property
    def has_reasoning(self) -> bool:
        return bool(self._reasoning)

    @property
    def answer_spans(self) -> list[Span]:
        """Where the answer stands in what was fed, in order; markers within it stand between."""
        return self._spans[Part.ANSWER]

    @property
    def certain_to(self) -> int:
        """Up to which character it is certain what is answer: reasoning may still become it."""
        return 0 if self._state in (_State.TAG, _State.REASONING) else self._taken

    def feed(self, text: str) -> list[Piece]:
        """Take the next piece of text; return what became certain, in order."""
        if not text:
            return []
        if not self._pending and self._state in _BODY and not self._markers.begins.search(text):
            # Nearly every piece: no character in it could begin a marker, and none is waited for.
            self._skip_break = False
            pieces: list[Piece] = []
            self._taken += len(text)
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
                self._take(len(self._pending) - len(self._pending.removeprefix("\n")))
                continue
            found = self._markers.whole.search(self._pending)
            if found is None:
                self._emit(self._take(len(self._pending) - self._held()), pieces)
                break
            self._cross(found, pieces)
        if self._state is _State.DONE:
            self._pending = ""
        return pieces

    def finish(self, *, is_call: bool = False) -> list[Piece]:
        """The text is over: return what was held back, and settle what never came.

        `is_call`: a call of a tool came in place of the answer, so what reasoned stays reasoning.
        """
        pieces: list[Piece] = []
        is_half = self._is_half_marker(self._pending)
        rest = self._take(len(self._pending))
        if self.is_settled and not is_half:
            self._emit(rest, pieces)
        if self._state is _State.REASONING and not is_call:
            self._answer, self._reasoning = self._reasoning, []
            self._spans[Part.ANSWER] = self._spans[Part.REASONING]
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
        begun, before, marker = self._taken, self._take(found.start()), found[0]
        self._take(len(marker))
        text = before.rstrip("\n")
        breaks = before[max(len(text), len(before) - MARKER_BREAKS) :]
        opens_line = bool(breaks) or (not self._is_body_begun and not before)
        kept = len(before) - len(breaks)
        self._emit(before[:kept], pieces, begun)
        # The engine's grammar begins behind the marker wherever it stands.
        opens_answer = opens_line or self._has_grammar
        if marker == OPEN and self._state is _State.REASONING and opens_answer:
            self._state = _State.ANSWER
        elif marker == CLOSE and self._state is _State.ANSWER and self._is_ended_by_marker:
            self._state, self._is_closed = _State.DONE, True
        else:
            self._emit(breaks, pieces, begun + kept)
            self._skip_break = marker in self._tags

    def _held(self) -> int:
        """How many characters at the end may still become a marker."""
        tail = self._pending[-self._markers.longest :]
        found = self._markers.partial.search(tail)
        return len(tail) - found.start() if found else 0

    def _is_half_marker(self, rest: str) -> bool:
        """Whether the end of the text is a marker broken off, which is no text.

        A lone "<" or "[" or a line break is text. Where nothing reasons no answer marker is
        expected, and `</` ends a piece of HTML.
        """
        half = rest.strip("\n")
        return len(half) > 1 and (self._reasons or any(tag.startswith(half) for tag in self._tags))

    def _take(self, count: int) -> str:
        taken, self._pending = self._pending[:count], self._pending[count:]
        self._taken += len(taken)
        return taken

    def _emit(self, text: str, pieces: list[Piece], begin: int | None = None) -> None:
        """Give text out; it begins at `begin`, or it is what was taken last."""
        if not text:
            return
        self._is_body_begun = True
        part = Part.ANSWER if self._state is _State.ANSWER else Part.REASONING
        (self._answer if part is Part.ANSWER else self._reasoning).append(text)
        pieces.append((part, text))
        if begin is None:
            begin = self._taken - len(text)
        spans = self._spans[part]
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], begin + len(text))
        else:
            spans.append((begin, begin + len(text)))


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


@cache
def _markers(tags: tuple[str, ...]) -> _Markers:
    """Patterns for these tags, compiled once: a process meets the tags of one card."""
    texts = [OPEN, CLOSE, *tags]
    begun, breaks = _prefixes(texts), rf"\n{{1,{MARKER_BREAKS}}}"
    return _Markers(
        whole=re.compile("|".join(map(re.escape, texts))),
        partial=re.compile(rf"(?:{breaks}(?:{begun})?|(?:{begun}))\Z"),
        begins=re.compile("[" + re.escape("".join({text[0] for text in texts})) + "\n]"),
        longest=max(map(len, texts)) + MARKER_BREAKS,
    )


def _prefixes(texts: Iterable[str]) -> str:
    """A pattern for every non-empty, proper beginning of the texts."""
    beginnings = {text[:end] for text in texts for end in range(1, len(text))}
    return "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))
