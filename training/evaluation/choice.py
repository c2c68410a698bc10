"""Choice: does the mode that was taken fit the question, and what did a wrong choice cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from model.mode import Mode
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Term
from training.evaluation.sheet import Sheet, expected_mode
from training.items import Kind

Context = tuple[str, Shown]
"""An item under a condition."""


def agreement(sheet: Sheet, way: str) -> Iterator[tuple[str, Term]]:
    """The share of answers in the mode that is expected: all, plain and hard items, by kind.

    Injected personas stand apart: they are made to mislead.
    """
    expected = [answer for answer in sheet.of(way) if expected_mode(answer) is not None]
    usual = [answer for answer in expected if answer.condition is not Shown.INJECTED]
    parts = {
        "all": usual,
        "plain": [answer for answer in usual if not answer.is_hard],
        "hard": [answer for answer in usual if answer.is_hard],
        **{str(kind): [answer for answer in usual if answer.kind is kind] for kind in Kind},
        "injected": [answer for answer in expected if answer.condition is Shown.INJECTED],
    }
    for part, answers in parts.items():
        yield part, sheet.rate(answers, lambda answer: answer.mode is expected_mode(answer))


def scored(sheet: Sheet, way: str) -> list[tuple[str, float, bool]]:
    """Item, probability of personalised mode, and whether that mode is the expected one."""
    return [
        (answer.item, answer.probability, expected is Mode.PERSONALIZED)
        for answer in _usual(sheet, way)
        if answer.probability is not None and (expected := expected_mode(answer)) is not None
    ]


def _usual(sheet: Sheet, way: str) -> list[Answer]:
    """Injected personas stand apart: they are made to mislead, and a calibration has seen none."""
    return [answer for answer in sheet.of(way) if answer.condition is not Shown.INJECTED]


def without_probability(sheet: Sheet, way: str) -> Term:
    """The share of answers with an expected mode that came with no probability, failed ones too:
    calibration error and Brier score do not see them."""
    expected = [answer for answer in _usual(sheet, way) if expected_mode(answer) is not None]
    return sheet.rate(expected, lambda answer: answer.probability is None)


def brier(sheet: Sheet, way: str) -> Term:
    """The mean squared distance of the probability from what was expected."""
    return 1, sheet.share((item, (p - is_true) ** 2) for item, p, is_true in scored(sheet, way))


def regret(
    sheet: Sheet, way: str, is_right: Callable[[Answer], bool]
) -> Iterator[tuple[str, Term, Term]]:
    """Per part: the regret, and the accuracy of an oracle that always takes the better mode.

    Regret of an item under a condition: the better forced mode's score minus the forced score of
    the mode that was taken. An answer that took none has its own score, which may be above both.
    The better of two scores that both have noise is a little too good: so are regret and oracle.
    Forced scores of another isolation than that of the way say nothing of it: where there are no
    others, nothing is counted.
    """
    forced = {mode: _scores(sheet, mode, way, is_right) for mode in Mode}
    parts: dict[str, tuple[Kind | None, Shown | None]] = {
        "all": (None, None),
        "objective/aligned": (Kind.OBJECTIVE, Shown.ALIGNED),
        "objective/unaligned": (Kind.OBJECTIVE, Shown.UNALIGNED),
        "objective/injected": (Kind.OBJECTIVE, Shown.INJECTED),
        "personalized/aligned": (Kind.PERSONALIZED, Shown.ALIGNED),
    }
    for part, (kind, shown) in parts.items():
        losses: list[tuple[str, float]] = []
        bests: list[tuple[str, float]] = []
        for answer in sheet.of(way, shown, kind):
            context = answer.item, answer.condition
            is_usual = answer.condition is not Shown.INJECTED
            is_counted = part != "all" or (is_usual and expected_mode(answer) is answer.wanted)
            if not is_counted or any(context not in forced[mode] for mode in Mode):
                continue
            best = max(forced[mode][context] for mode in Mode)
            taken = forced[answer.mode][context] if answer.mode else float(is_right(answer))
            losses.append((answer.item, best - taken))
            bests.append((answer.item, best))
        yield part, (1, sheet.share(losses, least=-1.0)), (1, sheet.share(bests))


def _scores(
    sheet: Sheet, mode: Mode, way: str, is_right: Callable[[Answer], bool]
) -> dict[Context, float]:
    """The mean score over the seeds of a forced mode, under the isolation of a way."""
    found: dict[Context, list[bool]] = {}
    for answer in sheet.of(f"forced/{mode}"):
        # Without a persona there is nothing to isolate.
        if answer.condition is Shown.NONE or way == f"auto/{answer.isolation}":
            found.setdefault((answer.item, answer.condition), []).append(is_right(answer))
    return {context: sum(scores) / len(scores) for context, scores in found.items()}
