"""Calibration: the raw log-odds of the mode, scaled until they are a probability (Platt, 1999)."""

from __future__ import annotations

import dataclasses
import logging
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model.card import save_card
from model.checkpoint import require_checkpoint
from model.decision import Calibration, sigmoid
from model.mode import Mode
from training.cards import card_of
from training.config import CHECKPOINT_ADVICE
from training.items import DataInvalid, Item, load_items, require_personas
from training.probe import mode_log_odds, parting_prompts, read_tag_ids
from training.rows import Asked, as_evaluated, evaluated_conditions

logger = logging.getLogger("personadual.training")

STEPS = 100
MIN_SLOPE = 1e-3
"""Where the likeliest slope is lower, the score does not tell the modes apart."""
BINS = 10


def fit(
    scores: Sequence[float], is_personalized: Sequence[bool], threshold: float = 0.5
) -> Calibration:
    """Slope and intercept of the likeliest logistic curve.

    The targets are Platt's: `(n + 1) / (n + 2)` in place of 1, so that scores which part the modes
    without an error still have a finite slope, and a probability stays short of certainty. Where
    they do not tell the modes apart, the slope is `MIN_SLOPE` and the probability the base rate.

    Raises:
        ValueError: a mode has no example, or a score is not finite.
    """
    count = sum(is_personalized)
    others = len(is_personalized) - count
    if not count or not others:
        raise ValueError("calibration needs examples of both modes")
    if not all(map(math.isfinite, scores)):
        raise ValueError("a score is not finite")
    high, low = (count + 1) / (count + 2), 1 / (others + 2)
    targets = [high if flag else low for flag in is_personalized]
    slope, intercept = _likeliest(scores, targets, 1.0)
    if slope < MIN_SLOPE:
        # The intercept goes with its slope: beside another one it is off by all of a mean score.
        slope, intercept = _likeliest(scores, targets, MIN_SLOPE, is_fixed=True)
    return Calibration(slope, intercept, threshold)


def _likeliest(
    scores: Sequence[float], targets: Sequence[float], slope: float, *, is_fixed: bool = False
) -> tuple[float, float]:
    """By Newton's method, from this slope; where it is fixed, the intercept for it."""
    intercept = 0.0
    loss = _loss(scores, targets, slope, intercept)
    for _ in range(STEPS):
        ps = [sigmoid(slope * score + intercept) for score in scores]
        by_slope = sum((p - t) * s for p, t, s in zip(ps, targets, scores, strict=True))
        by_intercept = sum(p - t for p, t in zip(ps, targets, strict=True))
        weights = [p * (1 - p) + 1e-12 for p in ps]
        aa = sum(w * s * s for w, s in zip(weights, scores, strict=True)) + 1e-9
        ab = sum(w * s for w, s in zip(weights, scores, strict=True))
        bb = sum(weights) + 1e-9
        if is_fixed:
            by_slope, aa, ab = 0.0, 1.0, 0.0
        det = aa * bb - ab * ab
        step = (
            (bb * by_slope - ab * by_intercept) / det,
            (aa * by_intercept - ab * by_slope) / det,
        )
        size = 1.0
        while size > 1e-10:
            tried = slope - size * step[0], intercept - size * step[1]
            if (new := _loss(scores, targets, *tried)) < loss:
                break
            size /= 2
        else:
            break
        slope, intercept = tried
        if loss - new < 1e-12:
            break
        loss = new
    return slope, intercept


def expected_calibration_error(probabilities: Sequence[float], is_true: Sequence[bool]) -> float:
    """Mean distance of probability and frequency over `BINS` equal bins, weighted by size."""
    found: dict[int, list[tuple[float, bool]]] = {}
    for probability, flag in zip(probabilities, is_true, strict=True):
        found.setdefault(min(int(probability * BINS), BINS - 1), []).append((probability, flag))
    gaps = (abs(sum(p - flag for p, flag in entries)) for entries in found.values())
    return sum(gaps) / max(len(probabilities), 1)


def score(
    model: Path, asked: Sequence[Asked], note: Callable[[int], None] = lambda _read: None
) -> list[float]:
    """`logp_personalized - logp_general` of each, read on a GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    card = card_of(model)
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    is_gpu = torch.cuda.is_available()
    network: Any = AutoModelForCausalLM.from_pretrained(
        # On a GPU as vLLM serves it; a processor is no faster in half of it.
        model,
        dtype="auto" if is_gpu else torch.float32,
    )
    network = network.to("cuda" if is_gpu else "cpu").eval()
    prompts = parting_prompts(asked, card, tokenizer)
    return mode_log_odds(network, prompts, read_tag_ids(tokenizer, card), note=note)


def calibrate(
    model: Path,
    data: Path,
    *,
    count: int,
    seed: int,
    note: Callable[[int, int], None] = lambda _read, _of: None,
) -> tuple[Calibration, float]:
    """Fit the card's calibration on the last `count` items of `data`, and write it.

    Each is asked once under every condition under which evaluation expects a mode. Returns the
    calibration with the expected calibration error on the items of the other half, on whose
    entities it was not fitted. `note` hears how many prompts were read, of how many. Figures of an
    evaluation under another calibration go out of the card: its choices were others.

    Raises:
        DataInvalid: `data` cannot be used: a line is no item or lacks a persona, or all of a half
            ask for one mode.
        CheckpointInvalid: `model` holds no checkpoint.
        CardInvalid: the card is malformed.
    """
    require_checkpoint(model, CHECKPOINT_ADVICE)
    card = card_of(model)
    items = load_items(data)
    require_personas(items, data, evaluated_conditions)
    items = items[-count:]
    first, second = map(as_evaluated, _halves(items, seed))
    for half in (first, second):
        if {one.mode for one in half} != set(Mode):
            raise DataInvalid(
                f"{data}: the {len(items)} last items must ask for both modes, in each half;"
                " personal questions and questions of fact"
            )
    whole = len(first) + len(second)
    scores = score(model, [*first, *second], lambda read: note(read, whole))
    flags = [one.mode is Mode.PERSONALIZED for one in [*first, *second]]
    fitted = len(first)
    trial = fit(scores[:fitted], flags[:fitted], card.calibration.threshold)
    error = expected_calibration_error(
        [trial.probability(log_odds) for log_odds in scores[fitted:]], flags[fitted:]
    )
    calibration = fit(scores, flags, card.calibration.threshold)
    if calibration.slope <= MIN_SLOPE:
        logger.warning(
            "the model's choice does not tell the modes apart: each probability is the base rate"
        )
    evaluation = card.evaluation if calibration == card.calibration else {}
    if evaluation != card.evaluation:
        logger.warning(
            "%s: its figures were measured with another calibration and are taken out of its card",
            model,
        )
    card = dataclasses.replace(card, calibration=calibration, evaluation=evaluation)
    save_card(card, model)
    return calibration, error


def _halves(items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Halves that share no entity. An item that is there under several conditions counts once:
    each is asked under all of them."""
    by_entity: dict[str, dict[tuple[str, ...], Item]] = {}
    for item in items:
        same = (item.question, *map(str, item.personas.values()))
        by_entity.setdefault(item.entity or item.question, {}).setdefault(same, item)
    groups = [list(found.values()) for found in by_entity.values()]
    random.Random(seed).shuffle(groups)
    middle = sum(map(len, groups)) / 2
    first: list[Item] = []
    second: list[Item] = []
    for group in groups:
        (first if len(first) < middle else second).extend(group)
    return first, second


def _loss(
    scores: Sequence[float], targets: Sequence[float], slope: float, intercept: float
) -> float:
    total = 0.0
    for score, target in zip(scores, targets, strict=True):
        z = slope * score + intercept
        # log(1 + exp(z)) - target * z, without overflow
        total += max(z, 0.0) + math.log1p(math.exp(-abs(z))) - target * z
    return total
