"""Likeness: whether two answers say the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Indel
from rapidfuzz.utils import default_process

from model.reading import agree

MAX_CHARACTERS = 10_000
"""What is compared of a longer answer."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """`similarity`: the share of words that two texts have in common, in order, from 0 to 1; None
    where both name an option or a number, which alone counts then."""

    is_same: bool
    similarity: float | None = None


def compare(first: str, second: str, same_from: float) -> Likeness:
    """Compare by option, else by number, else by words: without case, signs and surplus space."""
    first, second = first[:MAX_CHARACTERS].strip(), second[:MAX_CHARACTERS].strip()
    verdict = agree(first, second)
    if verdict is not None:
        return Likeness(verdict)
    # Words and not characters: two English texts about nothing in common share half of those.
    words, other = default_process(first).split(), default_process(second).split()
    similarity = Indel.normalized_similarity(words, other)
    return Likeness(similarity >= same_from, similarity)
