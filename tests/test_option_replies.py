"""Replies that choose an option: what counts exactly, what counts leniently, and what never."""

from __future__ import annotations

import json
import time

import pytest

from training.evaluation.readings import Reading, read_answer
from training.items import from_line

QUESTION = "Which?\nA. tofu\nB. steak\nC. soup\nD. rice"
ITEM = {"id": "q", "kind": "objective", "question": QUESTION, "match": "mcq", "personas": {}}

EXACT = [
    r"\boxed{B}",
    r"$\boxed{B}$",
    r"\boxed{\text{B}}",
    r"\boxed{(B)}",
    r"The answer is $\boxed{\text{B}}$.",
    r"\text{B}",
    r"\(B\)",
    r"\[B\]",
    r"**B.** steak",
    "**Answer:** B",
    "**Answer: B**",
    "The best choice is B",
    "The right option is (B).",
    "The correct answer is **B**",
    "The correct answer is **B**.",
    "My answer is B.",
]
LENIENT = [
    "I think A is wrong, so B",
    "(A) is wrong, so B",
    "Option A is wrong. The answer is B.",
    "A. tofu is what most say.\nThe answer is B.",
    "B, because A is not.",
    "The answer is B, because A is not.",
    "The answer is B, not A.",
    "The answer is B and A is wrong.",
    "The answer is A. No: on reflection the answer is B.",
    "First, option A: no.\nThe correct choice would be B.",
    "Option A is wrong; option B fits.",
    "Thinking about it.\n\\boxed{B}",
    "After A comes B. The final answer is \\boxed{\\text{B}}. I hope this helps.",
    "The answer is B, so A, C and D are wrong.",
    "The correct answer is B. The wrong option is A.",
    "I would choose B.",
    "Option A is weak: B is correct.",
    "Therefore, B.",
    "A good book would say steak.",
    "I am sure: steak.",
]
WRONG = [
    "The answer is A or B.",
    "The answer is B or A.",
    "The answer is either B or C.",
    "The answer is B/C.",
    "The answer is B, or maybe C",
    "The answer is B. Or C.",
    "The answer is (B) or (C).",
    "The answer is B and C.",
    "(B) or (C), who knows",
    "The answer is not B.",
    r"\boxed{B} or \boxed{C}",
    r"\boxed{A}",
    r"\boxed{B}\boxed{C}",
    "B. steak? No. The answer is A.",
    "Option B is wrong. The answer is A.",
    "B or not B",
    "BB",
]
NO_OPTION_A = [
    "A good book",
    "The answer is a good book",
    "The answer is A good book",
    "Answer: A good book",
    "So a good book",
    "So A good book it is",
    "A, B and C are wrong",
]


def judged(text: str, *answers: str) -> Reading:
    item = from_line(json.dumps({**ITEM, "answers": answers or ("B",)}))
    return read_answer(item, text)


@pytest.mark.parametrize("text", EXACT)
def test_one_letter_however_decorated_is_exact(text: str) -> None:
    assert judged(text) == Reading(True, True)


@pytest.mark.parametrize("text", LENIENT)
def test_what_a_reply_settles_on_counts_leniently(text: str) -> None:
    assert judged(text) == Reading(False, True)


@pytest.mark.parametrize("text", WRONG)
def test_what_hedges_or_says_another_is_wrong(text: str) -> None:
    assert judged(text) == Reading(False, False)


@pytest.mark.parametrize("text", NO_OPTION_A)
def test_the_article_is_no_option(text: str) -> None:
    assert judged(text, "A") == Reading(False, False)


@pytest.mark.parametrize("text", ["I think so.", "So I think.", "The answer is I think none", "I"])
def test_the_pronoun_is_no_option(text: str) -> None:
    """Save where it stands alone."""
    assert judged(text, "I").lenient is (text == "I")


@pytest.mark.parametrize("piece", [
    "\\boxed{", "answer ", "the answer is ", "so ", "A or ", "**", "(", "\\text{", "answer is\n",
    " ", "\n", "A, ", "option A ", "answer: ",
])  # fmt: skip
def test_a_long_reply_is_read_quickly(piece: str) -> None:
    for text in (piece * (20_000 // len(piece)), "answer" + piece * (9_000 // len(piece)) + "x"):
        begun = time.perf_counter()
        judged(text)
        assert time.perf_counter() - begun < 0.5
