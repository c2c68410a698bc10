"""Overlap: is a question one of a test set, or does it hold one?

The rule, on words without case, accents of width and punctuation: both texts are equal, or they
share 13 words in a row. A test question of 4 to 12 words counts as found where all of it stands in
a row, since templates put words around a question; a shorter one only if the texts are equal, but
for "Q:" or "Question:" before and "A:" or "Answer:" behind them. In scripts that put no spaces
between words each character counts as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from training.data.recipe import TestSet
from training.data.records import NoText, read
from training.items import DataInvalid

WORDS_IN_A_ROW = 13
FEWEST_WORDS = 4
# Thai and Lao, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_TEMPLATE = re.compile(r"^\s*(?:q|question)\s*:|\b(?:a|answer)\s*:\s*$", re.IGNORECASE)


def normalise(text: str) -> str:
    """The words of a text, folded and joined by single spaces."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _bare(text: str) -> str:
    """The words of a question without the template's mark before and behind it."""
    return normalise(_TEMPLATE.sub(" ", unicodedata.normalize("NFKC", text)))


class KeptOut:
    """The questions to keep out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._whole: set[str] = set()
        self._runs: dict[int, set[str]] = {}
        for text in texts:
            plain = _bare(text)
            words = plain.split()
            self._whole.add(plain)
            if len(words) >= FEWEST_WORDS:
                length = min(len(words), WORDS_IN_A_ROW)
                self._runs.setdefault(length, set()).update(_runs(words, length))
        self._whole.discard("")

    def __len__(self) -> int:
        return len(self._whole)

    def overlaps(self, text: str) -> bool:
        if _bare(text) in self._whole:
            return True
        words = normalise(text).split()
        return any(
            run in runs for length, runs in self._runs.items() for run in _runs(words, length)
        )


def _runs(words: Sequence[str], length: int) -> Iterable[str]:
    return (" ".join(words[at : at + length]) for at in range(len(words) - length + 1))


def load_test_questions(test_sets: Sequence[TestSet], dropped: Counter[tuple[str, str]]) -> KeptOut:
    """Read the test sets of a recipe; questions that are null are counted.

    Raises:
        DataInvalid: a row cannot be read, or a set holds no question.
    """
    texts: list[str] = []
    for test_set in test_sets:
        found: list[str] = []
        for record in read(test_set):
            for name in test_set.fields:
                try:
                    found.append(record.text(name))
                except NoText:
                    dropped[f"test set {test_set.name}", "no text"] += 1
        if not found:
            raise DataInvalid(f"test set {test_set.name} holds no question")
        texts += found
    return KeptOut(texts)
