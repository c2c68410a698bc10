"""Intervals: a ratio over items, its 95 % interval by a bootstrap, and a paired test.

Every measure is a signed sum of ratios `sum(hits) / sum(of)`. The bootstrap draws groups of items
that ask for one thing (who knows a capital knows it in every question for it), and takes the same
ones for all terms: what is compared is compared on the same questions. It cannot draw what no item
showed; where little was seen an interval reaches as far as Wilson's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

DRAWS = 2_000
SEED = 0
LEVEL = 0.95
Z = 1.959964
"""The normal deviate of that level."""
MAX_KEPT = 8_000_000
"""Weights that are held at once: 32 MB."""


@dataclass(frozen=True, slots=True)
class Share:
    """Per item, `[N]` each: what was counted, and of how many answers.

    An answer counts 1 at most and `least` at least.
    """

    hits: Array
    of: Array
    least: float = 0.0


Term = tuple[int, Share]
"""A sign and a share."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its interval; on how many items, from how many answers."""

    value: float
    low: float
    high: float
    items: int
    answers: int


@dataclass(frozen=True, slots=True)
class SignTest:
    """A two-sided exact test between two conditions, on the groups in which they differ.

    With groups of one item and one answer per condition it is McNemar's. `better`: groups in which
    the first condition did better.
    """

    better: int
    worse: int
    p_value: float

    @property
    def said(self) -> str:
        return "< 0.0001" if self.p_value < 1e-4 else f"{self.p_value:.4f}"


class Bootstrap:
    """Draws of groups with replacement: the same ones each time it is asked.

    `groups`: of each item, `[N]`, what it asks for. `of_item` has their places.
    """

    def __init__(self, groups: Sequence[Hashable]) -> None:
        places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
        self.of_item: Places = np.array([places[group] for group in groups], dtype=np.int64)
        self._groups = len(places)
        is_kept = self._groups * DRAWS <= MAX_KEPT
        self._kept = list(self._weights()) if is_kept else None

    def sums(self, columns: Array) -> Array:
        """Sums over the drawn items: `[N, K]` to `[DRAWS, K]`."""
        by_group = np.zeros((self._groups, columns.shape[1]))
        np.add.at(by_group, self.of_item, columns)
        weights = self._kept if self._kept is not None else self._weights()
        return np.concatenate([part @ by_group for part in weights])

    def groups_in(self, is_kept: npt.NDArray[np.bool_]) -> int:
        """How many groups some of the items make."""
        return len(np.unique(self.of_item[is_kept]))

    def _weights(self) -> Iterator[npt.NDArray[np.float32]]:
        """How often each group was drawn, `[some draws, groups]` at a time."""
        rng = np.random.default_rng(SEED)
        step = max(1, min(DRAWS, 1_000_000 // max(self._groups, 1)))
        for begin in range(0, DRAWS, step):
            rows = min(step, DRAWS - begin)
            drawn = rng.integers(self._groups, size=(rows, self._groups))
            drawn += np.arange(rows)[:, None] * self._groups
            counts = np.bincount(drawn.ravel(), minlength=rows * self._groups)
            yield counts.reshape(rows, self._groups).astype(np.float32)


def estimate(
    terms: Sequence[Term], bootstrap: Bootstrap, *, is_rate: bool = True
) -> Estimate | None:
    """The signed sum of the shares; None where one of them has no answers.

    Only items that all terms have count. `is_rate`: no answer counts more than its share allows, so
    that rare hits have an interval too, and none leaves what the terms can come to.
    """
    shares = [share for _, share in terms]
    has = np.array([share.of > 0 for share in shares])
    kept: npt.NDArray[np.bool_] = np.all(has, axis=0)
    if not kept.any():
        return None
    columns = np.stack([one for s in shares for one in (s.hits * kept, s.of * kept)], axis=1)
    value = float(_value(columns.sum(axis=0)[None], terms)[0])
    low, high = _ends(_value(bootstrap.sums(columns), terms), value)
    items = int(kept.sum())
    if is_rate:
        bottom, top = _bounds(terms)
        below, above = _reach(terms, kept, bootstrap)
        low, high = max(min(low, value - below), bottom), min(max(high, value + above), top)
    return Estimate(value, low, high, items, int(columns[:, 1::2].sum()))


def wilson(share: float, count: float) -> tuple[float, float]:
    """The ends of a share's interval, seen in so many independent trials (Wilson 1927)."""
    middle = share + Z**2 / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    scale = 1 + Z**2 / count
    return (middle - half) / scale, (middle + half) / scale


def _bounds(terms: Sequence[Term]) -> tuple[float, float]:
    """The least and the most that a signed sum can come to."""
    ends = [sorted((sign * share.least, float(sign))) for sign, share in terms]
    return sum(low for low, _ in ends), sum(high for _, high in ends)


def _reach(
    terms: Sequence[Term], kept: npt.NDArray[np.bool_], bootstrap: Bootstrap
) -> tuple[float, float]:
    """How far below and above a value its ends are at least.

    Of a hundred facts four won and none lost are four won in nearly each draw, and a loss in none,
    though as many may well be lost another time. So what adds to the value and what takes from it
    are two rates, each with Wilson's interval for the count of independent items that its variance
    over the draws amounts to, and their ends are put together as of independent ones (MOVER: Zou
    and Donner 2008).
    """
    bottom, top = _bounds(terms)
    scores = np.zeros(len(kept))
    for sign, share in terms:
        scores[kept] += sign * share.hits[kept] / share.of[kept]
    gains, losses = np.clip(scores, 0, None), np.clip(-scores, 0, None)
    sums = bootstrap.sums(np.stack([gains, losses, kept], axis=1))
    drawn = sums[sums[:, 2] > 0]
    below, above = 0.0, 0.0
    for part, most in ((0, top), (1, -bottom)):
        if most == 0.0:
            continue
        rate = float((gains, losses)[part][kept].mean()) / most
        spread = float((drawn[:, part] / drawn[:, 2] / most).var())
        is_seen = spread > 1e-12
        count = rate * (1 - rate) / spread if is_seen else bootstrap.groups_in(kept)
        low, high = wilson(rate, count)
        less, more = most * (rate - low), most * (high - rate)
        below = math.hypot(below, more if part else less)
        above = math.hypot(above, less if part else more)
    return below, above


def sign_test(first: Share, second: Share, of_item: Places) -> SignTest:
    """Compare two conditions group by group: the items of a group, and several seeds of an item,
    count once, by what they come to together."""
    has = (first.of > 0) & (second.of > 0)
    by_item = first.hits[has] / first.of[has] - second.hits[has] / second.of[has]
    gaps = np.bincount(of_item[has], weights=by_item)
    gaps = np.where(np.abs(gaps) < 1e-9, 0.0, gaps)  # thirds that cancel leave a last digit
    better, worse = int((gaps > 0).sum()), int((gaps < 0).sum())
    return SignTest(better, worse, _two_sided(better, worse))


def _two_sided(better: int, worse: int) -> float:
    """The chance of a split at least this uneven if both sides are equally likely."""
    differing = better + worse
    tail = sum(math.comb(differing, count) for count in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / (1 << differing))


def _value(sums: Array, terms: Sequence[Term]) -> Array:
    """The signed sum of ratios, `[D, 2 x terms]` to `[D]`; NaN where a draw has no answers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = sums[:, 0::2] / sums[:, 1::2]
    signs = np.array([sign for sign, _ in terms], dtype=np.float64)
    values: Array = ratios @ signs
    return values


def _ends(draws: Array, value: float) -> tuple[float, float]:
    found = draws[~np.isnan(draws)]
    if not found.size:
        return value, value
    outside = (1.0 - LEVEL) / 2 * 100
    low, high = np.percentile(found, [outside, 100.0 - outside])
    # Sums in other orders differ in their last digits.
    if abs(high - low) < 1e-9:
        return value, value
    return float(low), float(high)
