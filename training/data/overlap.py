"""Overlap: is a question one of a test set, or does it hold one?

The rule, on words without case, accents of width and punctuation: both texts are equal, or they
share 13 words in a row. A test question of 8 to 12 words counts as found where all of it stands in
a row, since templates put words around a question; a shorter one only if the texts are equal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from training.data.recipe import TestSet
from training.data.records import read
from training.items import DataInvalid

WORDS_IN_A_ROW = 13
FEWEST_WORDS = 8


def normalise(text: str) -> str:
    """The words of a text, folded and joined by single spaces."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


class KeptOut:
    """The questions to keep out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._whole: set[str] = set()
        self._runs: dict[int, set[str]] = {}
        for text in texts:
            plain = normalise(text)
            words = plain.split()
            self._whole.add(plain)
            if len(words) >= FEWEST_WORDS:
                length = min(len(words), WORDS_IN_A_ROW)
                self._runs.setdefault(length, set()).update(_runs(words, length))
        self._whole.discard("")

    def __len__(self) -> int:
        return len(self._whole)

    def overlaps(self, text: str) -> bool:
        plain = normalise(text)
        if plain in self._whole:
            return True
        words = plain.split()
        return any(
            run in runs for length, runs in self._runs.items() for run in _runs(words, length)
        )


def _runs(words: Sequence[str], length: int) -> Iterable[str]:
    return (" ".join(words[at : at + length]) for at in range(len(words) - length + 1))


def load_test_questions(test_sets: Sequence[TestSet]) -> KeptOut:
    """Read the test sets of a recipe.

    Raises:
        DataInvalid: a row cannot be read, or a set holds no question.
    """
    texts: list[str] = []
    for test_set in test_sets:
        found = [record.text(name) for record in read(test_set) for name in test_set.fields]
        if not found:
            raise DataInvalid(f"test set {test_set.name} holds no question")
        texts += found
    return KeptOut(texts)
