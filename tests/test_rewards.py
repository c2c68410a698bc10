"""Rewards: answers by kind, format by the gateway's parser, and nothing that a reply can break."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.mode import Mode, Tags
from model.reading import agree
from training.rewards import Judged, Match, judge, matches

G, P = Tags().general, Tags().personalized
MATCHES: list[Match] = ["mcq", "text", "number", "math"]

# accepted answers, what is right, what is wrong
MCQ = ["B", "b", "B)", "(B)", "[b]", "B.", " B ", "B. Paris", "B: Paris", "B - Paris", "**B**"]
MCQ += ["Option B", "option (B)", "Answer: B", "The correct answer is B.", "The answer is: (B)"]
MCQ += ["B. Vitamin C", "B. Franklin D. Roosevelt", "B) Option B", "\uff22", "B\n\nParis"]
NOT_B = ["", "A", "A. Paris", "AB", "Bb", "B or C", "B, C", "A and B", "B/C", "(B)(C)", "B) or C)"]
NOT_B += ["B. Paris or C. London", "B. Paris\nC. London", "B. C", "B) C", "B. Paris, (C) London"]
NOT_B += ["B. Paris, C", "B: option C", "Be quick", "B cells", "Paris", "not B", "B. Paris D) Rome"]
TEXT = ["Paris", "paris", "The Paris.", "  PARIS \n", '"Paris"', "(paris)"]
NUMBER = [
    "1234.5",
    "1,234.5",
    "+1234.5",
    "1234.50 km",
    "$1,234.5",
    "1.2345e3",
    "2469/2",
    "12345e-1",
]
NUMBER += ["1234.5 km/h", "1,234.5 dollars per day.", "123450%", "123450 percent", "1234.5m\u00b2"]
NUMBER += ["1.2345 thousand", "1.2345k", "1234.5001"]
NOT_NUMBER = ["1234", "1234.5 or 7", "1234.5 or five", "1234.51", "-1234.5", "1,2345", "12,34.5"]
NOT_NUMBER += ["1234.5%", "1 234.5", "1234.5.0", "1234.5 million", "nan", "inf", "", "--1234.5"]
NOT_NUMBER += ["1234.5/0", "1/2/3", "1234.5, 7", "about 1234.5", "1234.5e99999999999", "x"]
CASES: list[tuple[Match, str | list[str], list[str], list[str]]] = [
    ("mcq", "B", MCQ, NOT_B),
    ("mcq", "(a)", ["A", "a", "A. cat"], ["A cat", "The answer is a cat", "a cat", "B"]),
    ("text", "Paris", TEXT, ["", "Pari", "Paris France", "London", "Paris or London"]),
    ("text", ["Paris", "City of Light"], ["the city of light", "paris"], ["city"]),
    ("text", "The", ["the", "The."], ["a", "an"]),
    ("text", "1,000.5", ["1000.5"], ["10005", "-1000.5", "1000 5", "1,0005"]),
    ("text", "-5", ["\u22125", "\u20135", "-5."], ["5", "+5"]),
    ("text", "C#", ["c#"], ["C", "C++"]),
    ("text", "well-known", ["Well known", "well\u2014known"], ["wellknow"]),
    ("text", "102", ["102"], ["10\u00b2"]),
    ("text", "Stra\u00dfe", ["STRASSE", "strasse"], ["strase"]),
    ("text", "caf\u00e9", ["cafe\u0301"], ["cafe"]),
    ("number", "1234.5", NUMBER, NOT_NUMBER),
    ("number", "3/4", ["0.75", "75%", "6/8", " 3 / 4 ", ".75"], ["75", "3", "4", "3/5", "34"]),
    ("number", "50%", ["50%", "50 %", "0.5", "1/2", "50 percent"], ["50", "5%", "0.5%"]),
    ("number", "50", ["50", "5e1", "50."], ["50%", "0.5"]),
    ("number", "-7", ["-7", "\u22127", "-$7", "$-7", "- 7"], ["7", "$7"]),
    ("number", "0", ["0", "-0", "0.0", "0%"], ["1e-9", "1"]),
    ("number", "1000000", ["1e6", "1 million", "1,000,000"], ["1000001", "999999", "1,000,0000"]),
    ("number", ["12", "144"], ["12 eggs", "144.0"], ["2", "44"]),
    (
        "math",
        "\\frac{3}{4}",
        ["\\boxed{0.75}", "\\boxed{\\dfrac34}", "$3/4$", "75\\%"],
        ["3", "34"],
    ),
    ("math", "\\boxed{x^{2}+1}", ["x^{2} + 1", "so \\boxed{x^{2}+1}."], ["X^{2}+1", "x^{2}-1"]),
    (
        "math",
        "(1,2)",
        ["\\left( 1, 2 \\right)", "\\boxed{(1,\\,2)}"],
        ["[1,2]", "12", "(1,2]", "(2,1)"],
    ),
    ("math", "\\text{Even}", ["even", "\\boxed{\\text{even}}"], ["odd", "eve"]),
    ("math", "\\{1\\}", ["\\boxed{\\{1\\}}", "\\boxed{\\{1\\} }"], ["1", "\\{2\\}"]),
    (
        "math",
        "2",
        ["\\boxed{1} no, \\boxed{2}", "2.0", "2^{\\circ}", "2\\text{ cm}"],
        ["\\boxed{2}1\\boxed{3}"],
    ),
    ("math", "2\\frac{1}{2}", ["2\\frac12", "2 \\frac{1}{2}"], ["10.5", "21/2"]),
    ("math", "-\\frac{1}{2}", ["-0.5", "\\frac{-1}{2}", "\\boxed{-\\frac{1}{2}}"], ["0.5"]),
    ("math", "1{,}000", ["1000", "1,000"], ["1", "1000%"]),
    ("math", "\\sqrt{2}", ["\\boxed{\\sqrt{2}}"], ["2", "\\sqrt{3}", "\\boxed{\\sqrt{2}", ""]),
]


def replied(answer: str, opening: str = G) -> str:
    return f"{opening}Let me see.\n\n<answer>{answer}</answer>"


@pytest.mark.parametrize(("match", "accepted", "right", "wrong"), CASES)
def test_answers(
    match: Match, accepted: str | list[str], right: Sequence[str], wrong: Sequence[str]
) -> None:
    """Each right answer is right in a whole reply, and each wrong one wrong."""
    found = {one: judge(replied(one), accepted, match).is_correct for one in [*right, *wrong]}
    assert found == dict.fromkeys(right, True) | dict.fromkeys(wrong, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (replied("4"), Judged(Mode.GENERAL, True, True)),
        (replied("4", P), Judged(Mode.PERSONALIZED, True, True)),
        (replied("5", P), Judged(Mode.PERSONALIZED, True, False)),
        (f"{G}<answer>4</answer>", Judged(Mode.GENERAL, True, True)),
        (replied("4", ""), Judged(None, False, True)),
        (replied("4", "Well, [General_mode]\n"), Judged(None, False, True)),
        (f"{G}r\n\n<answer>4", Judged(Mode.GENERAL, False, True)),
        (f"{G}r\n\n<answer>4</answ", Judged(Mode.GENERAL, False, True)),
        (f"{G}4", Judged(Mode.GENERAL, False, True)),
        (f"{G}so it is 4", Judged(Mode.GENERAL, False, False)),
        (f"{G}I write <answer>4</answer>", Judged(Mode.GENERAL, False, False)),
        (replied(""), Judged(Mode.GENERAL, False, False)),
        (replied(" \n"), Judged(Mode.GENERAL, False, False)),
        (replied("4") + " and 5", Judged(Mode.GENERAL, True, True)),
        (replied("4\n\n<answer>5"), Judged(Mode.GENERAL, True, False)),
        (G, Judged(Mode.GENERAL, False, False)),
        ("", Judged(None, False, False)),
    ],
)
def test_format_is_what_the_gateway_parses(text: str, expected: Judged) -> None:
    """Tag, answer marker, something in it, closing marker. Format and answer are two things."""
    assert judge(text, "4", "number") == expected


def test_tags_are_those_of_the_checkpoint() -> None:
    tags = Tags("<|general|>", "<|personal|>")
    assert judge(replied("4", "<|personal|>"), "4", "number", tags).mode is Mode.PERSONALIZED
    assert judge(replied("4", P), "4", "number", tags).mode is None


@pytest.mark.parametrize(
    ("accepted", "match", "told"),
    [
        ("Paris", "mcq", "read as mcq"),
        ("A or B", "mcq", "read as mcq"),
        ("K", "mcq", "read as mcq"),
        ("many", "number", "read as number: 'many'"),
        ("nan", "number", "read as number"),
        (["4", "1/0"], "number", "read as number: '1/0'"),
        (" ", "text", "read as text"),
        ("$$", "math", "read as math"),
        ([], "text", "no accepted answer"),
        ("4", "essay", "match must be one of mcq, text"),
    ],
)
def test_faults_of_the_data_are_told(accepted: str | list[str], match: Match, told: str) -> None:
    """Also for a reply that is wrong anyway: an item that can never be won is no item."""
    with pytest.raises(ValueError, match=told):
        judge("", accepted, match)


HOSTILE = {
    "words": "word " * 200_000,
    "close markers": "</answer>" * 110_000,
    "answers": "\n\n<answer>" * 100_000,
    "boxes": "\\boxed{" * 150_000,
    "a box of braces": "\\boxed{" + "{" * 1_000_000,
    "braces": "{}" * 500_000,
    "digits": "9" * 1_000_000,
    "exponent": "1e" + "9" * 1_000_000,
    "commas": "1,000" + ",000" * 250_000,
    "letters": "B " * 500_000,
    "breaks": "\n" * 1_000_000,
    "fractions": "\\frac" * 200_000,
    "null": "\0" * 1_000_000,
}


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_is_quick(name: str, match: Match) -> None:
    """Inside the answer and instead of it; a pattern that backtracks takes minutes."""
    accepted = {"mcq": "B", "text": "Paris", "number": "7", "math": "7"}[match]
    # A piece is below every limit on length, so that it does reach the patterns.
    piece = HOSTILE[name]
    begun = time.perf_counter()
    for text in (replied(piece), G + piece, replied(piece[:9_999]), replied(piece[:199])):
        assert not judge(text, accepted, match).is_correct
    assert time.perf_counter() - begun < 3


def test_what_lies_behind_the_cut_is_not_read() -> None:
    """A right answer behind 100,000 characters of reasoning earns nothing, and raises nothing."""
    late = f"{G}{'r' * 100_000}\n\n<answer>4</answer>"
    assert judge(late, "4", "number") == Judged(Mode.GENERAL, False, False)


pieces = st.sampled_from(
    ["B", "(", ")", ".", "or ", "1", "3/4", ",", "-", "%", " ", "\\boxed{", "}", "{", "\\frac",
     "e9", "km", "a ", "<answer>", "</answer>", "\n\n", "\u00b2", "\u0664", "\ud800", "\\", "$"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(pieces, max_size=14).map("".join) | st.text(), st.sampled_from(MATCHES))
def test_no_reply_raises(answer: str, match: Match) -> None:
    accepted = {"mcq": "B", "text": "Paris", "number": "7", "math": "7"}[match]
    judged = judge(replied(answer), accepted, match)
    assert not (judged.is_correct and not answer.strip())


@given(st.fractions(), st.sampled_from([5, 7]))
def test_numbers_are_told_apart_by_a_millionth(number: Fraction, power: int) -> None:
    """One part in 10^7 off is equal, one in 10^5 is not; whole numbers are equal or are not."""
    off = number * (1 + Fraction(1, 10**power))
    is_whole = number.denominator == off.denominator == 1
    is_equal = number == off if is_whole else power == 7
    assert matches(str(number), [str(number)], "number")
    assert matches(str(off), [str(number)], "number") is is_equal


AGREEMENTS: list[tuple[str, str, bool | None]] = [
    ("B", "The correct answer is (b).", True),
    ("B", "C. London", False),
    ("1,000", "1e3", True),
    ("12 km", "13 km", False),
    ("B", "12", None),
    ("B or C", "B", None),
    ("a stew", "a stew", None),
    ("", "", None),
]


@pytest.mark.parametrize(("first", "second", "verdict"), AGREEMENTS)
def test_two_answers_agree_by_option_or_number(
    first: str, second: str, verdict: bool | None
) -> None:
    """Either way round; what names neither is left to a comparison of texts."""
    assert agree(first, second) is verdict
    assert agree(second, first) is verdict
