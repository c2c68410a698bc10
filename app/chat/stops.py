"""Stop texts, held to the answer.

The engine looks for them in all that the model writes: of a checkpoint that reasons it would end a
reply within its reasoning, and the caller would get that for an answer. So they are looked for
here, in what is shown as the answer alone. The engine writes to its own end; what stands behind a
stop text is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import InvalidRequest
from model.reply import Part, Piece, Span

MAX_STOPS, MAX_STOP_CHARS = 16, 200
"""Each costs a search in every piece of an answer."""


def read_stops(value: object) -> tuple[str, ...]:
    """The stop texts of a request; none where the engine has to say what is wrong with them.

    Raises:
        InvalidRequest: they are too many or too long.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        return ()
    if len(texts) > MAX_STOPS or any(len(text) > MAX_STOP_CHARS for text in texts):
        raise InvalidRequest(
            f"stop: give at most {MAX_STOPS} texts of {MAX_STOP_CHARS} characters", field="stop"
        )
    return tuple(texts)


def before_stop(answer: str, texts: Sequence[str]) -> str:
    """A whole answer up to its first stop text."""
    return answer[: _first(answer, texts)[0]]


def _first(text: str, stops: Sequence[str]) -> tuple[int | None, str | None]:
    """Where a stop text begins, and which: of several the one that is whole first, as streamed."""
    places = [(at + len(stop), at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    return min(places)[1:] if places else (None, None)


class AnswerStops:
    """Cuts the pieces of one reply at the first stop text in its answer.

    `found` is that text, `shown` how many characters of the answer went out. With `shows_it` the
    text stays as the answer's end.
    """

    def __init__(self, texts: Sequence[str], *, shows_it: bool) -> None:
        self._texts = texts
        self._longest = max(map(len, texts))
        self._shows_it = shows_it
        self._held = ""
        self.shown = 0
        self.found: str | None = None

    def cut(self, pieces: Sequence[Piece], *, is_last: bool = False) -> list[Piece]:
        """What may be shown of the next pieces: what may still become a stop text waits."""
        shown = []
        for part, text in pieces:
            kept = self._take(text) if part is Part.ANSWER else text
            if kept:
                shown.append((part, kept))
        if is_last and self._held:
            shown.append((Part.ANSWER, self._held))
            self.shown += len(self._held)
            self._held = ""
        return shown

    def seen(self, spans: Sequence[Span], certain_to: int) -> tuple[list[Span], int]:
        """Of the answer's places in the reply, those of what was shown; and up to which character
        that is certain."""
        found, left = list[Span](), self.shown
        for begin, end in spans:
            if left <= 0:
                break
            found.append((begin, min(end, begin + left)))
            left -= end - begin
        if self._held:
            certain_to = found[-1][1] if found else 0
        return found, certain_to

    def _take(self, text: str) -> str:
        if self.found is not None:
            return ""
        text = self._held + text
        at, self.found = _first(text, self._texts)
        if at is None or self.found is None:
            end = len(text) - self._begun(text)
            self._held = text[end:]
        else:
            end = at + len(self.found) if self._shows_it else at
            self._held = ""
        self.shown += end
        return text[:end]

    def _begun(self, text: str) -> int:
        """How many characters at the end may still become a stop text."""
        for length in range(min(len(text), self._longest - 1), 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._texts):
                return length
        return 0
