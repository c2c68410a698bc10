"""Measures: what is read off the answers of a run, by name. Pure.

A failed answer is wrong, malformed and of no mode, and it is counted in every denominator of what
is right and of which mode. It has neither probability nor cost: Brier score, calibration error,
latency and tokens are of the answers that came with one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from model.mode import Isolation, Mode
from training.evaluation import choice, swap
from training.evaluation.answers import Answer
from training.evaluation.conditions import Shown
from training.evaluation.intervals import Share, Term
from training.evaluation.sheet import Sheet
from training.items import Kind

AUTO_SHARED, AUTO_STRICT = (f"auto/{isolation}" for isolation in Isolation)
READINGS: dict[str, Callable[[Answer], bool]] = {
    "exact": lambda answer: bool(answer.is_correct),
    "lenient": lambda answer: bool(answer.is_correct_lenient),
}
CLAIMED: dict[str, Callable[[Answer], bool]] = {
    "exact": lambda answer: bool(answer.says_claim),
    "lenient": lambda answer: bool(answer.says_claim_lenient),
}
DIFFERENCES = {
    "interference": (Shown.NONE, Shown.UNALIGNED),
    "benefit": (Shown.ALIGNED, Shown.NONE),
    "injection": (Shown.NONE, Shown.INJECTED),
}
"""Accuracy under the first condition minus accuracy under the second."""
FLIPS = {"negative_flips": (True, False), "positive_flips": (False, True)}
"""Whether an answer is right without a persona, and whether it is beside one."""


@dataclass(frozen=True, slots=True)
class Label:
    """Which measure: of which way of asking, on which part of the answers, read how."""

    measure: str
    way: str
    part: str
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """A labelled value: the signed sum of shares.

    `unit`: `share`, `mean` (of what is no share), `s` or `tokens`. The terms of a difference are
    compared item by item.
    """

    label: Label
    terms: tuple[Term, ...]
    unit: str = "share"


def measures(sheet: Sheet) -> list[Measure]:
    """Every measure that the answers allow; one without answers has shares of none."""
    return [
        *_correctness(sheet),
        *_flips(sheet),
        *_adoption(sheet),
        *_isolation(sheet),
        *_mode_choice(sheet),
        *_persona_swap(sheet),
        *_soundness(sheet),
        *_cost(sheet),
    ]


def _accuracy(sheet: Sheet, way: str, shown: Shown, kind: Kind, reading: str) -> Share:
    return sheet.rate(sheet.of(way, shown, kind), READINGS[reading])[1]


def _correctness(sheet: Sheet) -> Iterator[Measure]:
    """Accuracy by condition, and what a persona costs or gives."""
    judged = {Kind.OBJECTIVE: "accuracy", Kind.PERSONALIZED: "personalized_accuracy"}
    for way in sheet.ways:
        for reading in READINGS:
            shares = {
                (kind, shown): _accuracy(sheet, way, shown, kind, reading)
                for kind in judged
                for shown in Shown
            }
            for (kind, shown), share in shares.items():
                yield Measure(Label(judged[kind], way, shown, reading), ((1, share),))
            for kind in judged:
                for name, (first, second) in DIFFERENCES.items():
                    terms = (1, shares[kind, first]), (-1, shares[kind, second])
                    yield Measure(Label(name, way, kind, reading), terms)


def _flips(sheet: Sheet) -> Iterator[Measure]:
    """What interference nets: facts that were right without a persona and are wrong beside one,
    and the reverse, of all that were asked both ways.

    Guesses flip both ways alike and cancel. The rate of negative flips is that of
    arXiv:2011.09161, the persona in place of a newer model.
    """
    for way in sheet.ways:
        for reading, is_right in READINGS.items():
            alone = {
                (answer.item, answer.seed): is_right(answer)
                for answer in sheet.of(way, Shown.NONE, Kind.OBJECTIVE)
            }
            for shown in (Shown.ALIGNED, Shown.UNALIGNED, Shown.INJECTED):
                turned = [
                    (answer.item, alone[answer.item, answer.seed], is_right(answer))
                    for answer in sheet.of(way, shown, Kind.OBJECTIVE)
                    if (answer.item, answer.seed) in alone
                ]
                for name, flip in FLIPS.items():
                    scored = ((item, float((was, now) == flip)) for item, was, now in turned)
                    yield Measure(Label(name, way, shown, reading), ((1, sheet.share(scored)),))


def _adoption(sheet: Sheet) -> Iterator[Measure]:
    """How often the false claim of an injected persona is the answer, and how much more often than
    without a persona, by chance."""
    for way in sheet.ways:
        if not sheet.of(way, Shown.INJECTED):
            continue
        for reading, says_claim in CLAIMED.items():
            injected, alone = (
                sheet.rate(sheet.of(way, shown, Kind.OBJECTIVE), says_claim)[1]
                for shown in (Shown.INJECTED, Shown.NONE)
            )
            label = Label("claim_repeated", way, Shown.INJECTED, reading)
            yield Measure(label, ((1, injected),))
            label = Label("adoption", way, Kind.OBJECTIVE, reading)
            yield Measure(label, ((1, injected), (-1, alone)))


def _isolation(sheet: Sheet) -> Iterator[Measure]:
    """What strict isolation gives: its accuracy minus that of shared."""
    for reading in READINGS:
        for shown in (Shown.ALIGNED, Shown.UNALIGNED, Shown.INJECTED):
            strict, shared = (
                _accuracy(sheet, way, shown, Kind.OBJECTIVE, reading)
                for way in (AUTO_STRICT, AUTO_SHARED)
            )
            label = Label("isolation_gain", AUTO_STRICT, shown, reading)
            yield Measure(label, ((1, strict), (-1, shared)))


def _mode_choice(sheet: Sheet) -> Iterator[Measure]:
    for way in sheet.automatic if sheet.has_tags else ():
        for kind in Kind:
            for shown in Shown:
                answers = sheet.of(way, shown, kind)
                term = sheet.rate(answers, lambda answer: answer.mode is Mode.PERSONALIZED)
                yield Measure(Label("personalized_rate", way, f"{kind}/{shown}"), (term,))
        for part, term in choice.agreement(sheet, way):
            yield Measure(Label("agreement", way, part), (term,))
        missing = choice.without_probability(sheet, way)
        yield Measure(Label("without_probability", way, "all"), (missing,))
        yield Measure(Label("brier", way, "all"), (choice.brier(sheet, way),), "mean")
        for reading, is_right in READINGS.items():
            for part, regret, oracle in choice.regret(sheet, way, is_right):
                yield Measure(Label("regret", way, part, reading), (regret,))
                yield Measure(Label("oracle_accuracy", way, part, reading), (oracle,))


def _persona_swap(sheet: Sheet) -> Iterator[Measure]:
    for way in sheet.ways:
        for mode, kind, name in (
            (Mode.GENERAL, Kind.OBJECTIVE, "swap_invariance"),
            (Mode.GENERAL, Kind.PERSONALIZED, "swap_invariance"),
            (Mode.PERSONALIZED, Kind.PERSONALIZED, "swap_change"),
        ):
            if all(answer.mode is not mode for answer in sheet.of(way)):
                continue  # Else what failed would stand for a mode that was never taken.
            term = swap.kept(sheet, way, mode, kind, is_change=name == "swap_change")
            yield Measure(Label(name, way, kind), (term,))


def _soundness(sheet: Sheet) -> Iterator[Measure]:
    for way in sheet.ways:
        answers = sheet.of(way)
        failed = sheet.rate(answers, lambda answer: answer.error is not None)
        if sheet.has_tags:
            valid = sheet.rate(answers, lambda answer: answer.is_valid_format)
            yield Measure(Label("valid_format", way, "all"), (valid,))
        yield Measure(Label("failed", way, "all"), (failed,))


def _cost(sheet: Sheet) -> Iterator[Measure]:
    """Seconds and tokens of the answers that came, by the mode they took."""
    for way in sheet.ways:
        came = [answer for answer in sheet.of(way) if answer.error is None]
        for mode in (*Mode, None):
            mine = [answer for answer in came if answer.mode is mode]
            seconds = sheet.share((answer.item, answer.latency_s) for answer in mine)
            tokens = sheet.share(
                (answer.item, answer.tokens) for answer in mine if answer.tokens is not None
            )
            part = mode or "no mode"
            yield Measure(Label("latency", way, part), ((1, seconds),), "s")
            yield Measure(Label("tokens", way, part), ((1, tokens),), "tokens")
