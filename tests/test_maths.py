"""Maths: which two ways of writing an answer are one, and which are not."""

from __future__ import annotations

import time

import pytest

from model.maths import read_math
from training.rewards import matches

# what a reply may say, the key
EQUAL = [
    (r"\(5\)", "5"),
    (r"\[5\]", "5"),
    ("**5**", "5"),
    ("**$5$**", "5"),
    (r"\boxed 5", "5"),
    (r"so $\boxed 5$.", "5"),
    (r"\boxed {5}", "5"),
    (r"\fbox{5}", "5"),
    (r"11\sqrt{2}", r"11\sqrt2"),
    (r"\sqrt x", r"\sqrt{x}"),
    (r"\sqrt[3]2", r"\sqrt[3]{2}"),
    (r"\sqrt\pi", r"\sqrt{\pi}"),
    (r"\frac\pi2", r"\frac{\pi}{2}"),
    (r"\frac{\sqrt3}2", r"\dfrac{\sqrt{3}}{2}"),
    (r"\frac{270}{7}\text{ degrees}", r"\frac{270}7"),
    (r"\frac{270}{7}\text{ degrees}", r"\frac{270}7\text{ degrees}"),
    ("270/7", r"\frac{270}7"),
    ("270/7", r"\frac{270}7\text{ degrees}"),
    (r"\frac1{2}", "0.5"),
    ("0.5", "1/2"),
    (r"15\text{ cm}^2", r"15\mbox{ cm}^2"),
    ("15", r"15\mbox{ cm}^2"),
    ("15 cm^2", r"15\mbox{ cm}^{2}"),
    (r"25^\circ C", "25"),
    ("x^{2}", "x^2"),
    ("2516_{8}", "2516_8"),
    ("[-2,7]", r"x \in [-2,7]"),
    (r"x\in[-2,7]", "[-2,7]"),
    ("2x+3", "y=2x+3"),
    ("f(x) = 2x+3", "2x + 3"),
    ("5", "x=5"),
    ("x = 5", "5"),
    ("x=5", "x = 5"),
    ("x=1, x=-2", "-2,1"),
    ("x = 1, -2", "-2,1"),
    ("-2, 1", "1,-2"),
    ("(3,4), (1,2)", "(1,2),(3,4)"),
    (r"\frac12, 3", "3,0.5"),
    ("1,000, 2", "2, 1000"),
    ("1,000", "1000"),
    (r"10,\!080", "10080"),
    ("11111111100", r"11,\! 111,\! 111,\! 100"),
    ("C", r"\text{(C)}"),
    ("(C)", r"\text{(C)}"),
    ("50", r"50\%"),
    ("0.5", r"50\%"),
    (r"50\%", r"50\%"),
    (r"2\frac12", "5/2"),
    (r"-2\frac12", "-2.5"),
    (r"2\frac{1}{2}\text{ cm}", "5/2"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\begin{pmatrix} 1 & 2 \\ -3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\-3&4\end{pmatrix}"),
    (r"\text{even}", "Even"),
]
NOT_EQUAL = [
    ("(1,2)", "(2,1)"),
    ("[1,2]", "(1,2)"),
    ("(1,2]", "1,2"),
    (r"x\frac12", r"2\frac12"),
    (r"x\frac12", "1/2"),
    (r"\frac12x", "1/2"),
    (r"5\frac32", "13/2"),
    ("12", "1,2"),
    ("1,2", "1,2,2"),
    ("1,2", "1"),
    ("1", "1,2"),
    ("1000", "1,0000"),
    ("-5", "5"),
    ("x^{23}", "x^2 3"),
    ("2*3", "23"),
    ("6", "2*3"),
    ("y=5", "x=5"),
    (r"y\in[0,1]", r"x\in[0,1]"),
    ("x=1, y=2", "1,2"),
    ("x=2, y=1", "x=1, y=2"),
    (r"50\%", "50"),
    ("5", r"50\%"),
    (r"0.5\%", r"50\%"),
    ("5x", "5"),
    ("5x^2", "5"),
    ("2ab", "2"),
    ("2abc", "2"),
    ("2i", "2"),
    ("5x", "5y"),
    (r"\sqrt{23}", r"\sqrt23"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2&3&4\end{pmatrix}"),
    ("C", r"\text{(B)}"),
    ("2516", "2516_8"),
    ("x<5", "x=5"),
    (r"\boxed{}", "5"),
    (r"\boxed 5 or 6", "5"),
    (r"\boxed", "5"),
]


@pytest.mark.parametrize(("said", "key"), EQUAL)
def test_the_same_answer_otherwise_written(said: str, key: str) -> None:
    assert matches(said, [key], "math")


@pytest.mark.parametrize(("said", "key"), NOT_EQUAL)
def test_another_answer(said: str, key: str) -> None:
    assert not matches(said, [key], "math")


@pytest.mark.parametrize("piece", [
    "\\sqrt[", "\\frac", "\\frac{", "^", "_{", "1,", "(", "[,", "x=", "\\text{", "\\boxed ",
    "\\boxed", " ", "\\\\", "\\", "1 ", "2\\frac12", "a", "9", "9,999", "%", "*", "}", "\\in ",
])  # fmt: skip
@pytest.mark.parametrize("frame", ["%s", "1%sx", "\\boxed{%s}"])
def test_cost_grows_with_the_length_and_not_with_its_square(piece: str, frame: str) -> None:
    """Four times the length costs about four times as much; nothing raises."""

    def cost_s(length: int) -> float:
        text = frame % (piece * (length // len(piece)))
        begun = time.perf_counter()
        read_math(text)
        return time.perf_counter() - begun

    costs = [min(cost_s(length) for _ in range(3)) for length in (5_000, 20_000)]
    assert costs[1] < 8 * max(costs[0], 0.005)
