"""Likeness: options, numbers, and else the words that two texts have in common."""

from __future__ import annotations

import time

import pytest

from app.shadow.likeness import MAX_CHARACTERS, compare
from model.reading import read_choice

CASES: list[tuple[str, str, bool, float | None]] = [
    ("B", "The answer is (b).", True, None),
    ("B. Paris", "C. Paris", False, None),
    ("1,000 m", "1e3", True, None),
    ("12", "13", False, None),
    ("Cook a stew.", "  cook a STEW", True, 1.0),
    # Nine words and ten, eight in common and in order: 2 * 8 / 19.
    ("a b c d e f g h x", "a b c d e f g h y z", True, 16 / 19),
    ("one two three four", "four three two one", False, 0.25),
    ("B", "Paris", False, 0.0),
    ("Paris", "", False, 0.0),
    ("", " ", True, 1.0),
    ("\u4f60\u597d", "\u4f60\u597d", True, 1.0),
]


@pytest.mark.parametrize(("first", "second", "is_same", "similarity"), CASES)
def test_what_two_answers_have_in_common(
    first: str, second: str, is_same: bool, similarity: float | None
) -> None:
    """The same whichever comes first."""
    for likeness in (compare(first, second, 0.8), compare(second, first, 0.8)):
        assert likeness.is_same is is_same
        assert likeness.similarity == (None if similarity is None else pytest.approx(similarity))


@pytest.mark.parametrize("filler", ["\n", " ", " \n", "\n ", ".\n", ", ", "A\n", "or ", "- "])
@pytest.mark.parametrize("answer", ["B)%sx", "B) or%sx", "B) y%s\nx", "B%sx"])
def test_cost_grows_with_the_length_and_not_with_its_square(answer: str, filler: str) -> None:
    """Four times the length costs about four times as much; by the square it would be sixteen."""

    def cost_s(length: int) -> float:
        text = answer % (filler * (length // len(filler)))
        begun = time.perf_counter()
        read_choice(text)
        return time.perf_counter() - begun

    costs = [min(cost_s(length) for _ in range(3)) for length in (2_500, 10_000)]
    assert costs[1] < 8 * max(costs[0], 0.001)


def test_long_answers_cost_little() -> None:
    """A hostile megabyte is cut: the event loop does not notice."""
    begun = time.perf_counter()
    for text in ("(B) " * 250_000, "A or " * 200_000, "word " * 200_000, "\n" * 1_000_000):
        compare(text, text[:-7] + "x", 0.8)
    assert time.perf_counter() - begun < 0.5
    assert compare("x " * MAX_CHARACTERS, "x " * MAX_CHARACTERS + "y", 1.0).is_same
