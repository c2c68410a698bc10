"""Log-probabilities that a caller asked for, brought to the text that it reads.

The engine sends an entry for each token that it made: those of the tag, of reasoning and its
markers, of calls and of the end are not the answer's. A text may come later than its entries
(stop texts hold it back), so an entry waits until its place in the text is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from model.reply import Span

Entry = dict[str, Any]
HALF_CHARACTER = "\ufffd"


class AlignedEntries:
    """Entries of one reply's tokens, given out once it is certain whether they are answer."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._waiting: deque[Entry] = deque()
        self._placed: deque[tuple[int, int, Entry]] = deque()
        self._passed_spans = 0

    def add(self, text: str, entries: Sequence[Entry], *, is_last: bool) -> None:
        """Take the reply's next text, as the model wrote it, and entries of its next tokens."""
        self._waiting.extend(entries)
        text, at = self._text + text, 0
        while self._waiting:
            token = str(self._waiting[0].get("token") or "")
            begin, width = _place(text, at, token)
            if width is None and not is_last and len(text) - begin <= len(token):
                break
            entry = self._waiting.popleft()
            if width is None and token.strip(HALF_CHARACTER):
                continue  # the text does not show it: the end, or a call that stands elsewhere
            at = at if width is None else begin
            end = at + (width or 0)
            self._placed.append((self._at + at, self._at + end, entry))
            at = end
        self._text, self._at = text[at:], self._at + at

    def take(self, spans: Sequence[Span], certain_to: int, *, is_last: bool) -> list[Entry]:
        """Give out the entries of tokens that lie within `spans`, as far as those are certain.

        A token that a marker shares with the answer would show a half of it: its entry goes.
        """
        shown = []
        while self._placed:
            begin, end, entry = self._placed[0]
            if not is_last and (end > certain_to or begin >= certain_to):
                break
            self._placed.popleft()
            while self._passed_spans < len(spans) and spans[self._passed_spans][1] <= begin:
                self._passed_spans += 1
            if self._passed_spans < len(spans) and _lies_in(spans[self._passed_spans], begin, end):
                shown.append(entry)
        return shown


def _lies_in(span: Span, begin: int, end: int) -> bool:
    return span[0] <= begin and end <= span[1]


def _place(text: str, at: int, token: str) -> tuple[int, int | None]:
    """Where a token begins and how many characters it is; None where the text goes on otherwise.

    Bytes that never became a character show as replacements, which no token after them has.
    """
    width = _width(text, at, token)
    if width is not None or not text.startswith(HALF_CHARACTER, at):
        return at, width
    begin = at + len(text[at:]) - len(text[at:].lstrip(HALF_CHARACTER))
    return begin, _width(text, begin, token.lstrip(HALF_CHARACTER))


def _width(text: str, at: int, token: str) -> int | None:
    """How many characters of the text a token is; None where the text goes on otherwise."""
    if text.startswith(token, at):
        return len(token)
    if text.startswith(f" {token}", at):
        return len(token) + 1  # some tokenizers lose the space when a token is written alone
    return None
