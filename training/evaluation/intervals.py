"""Intervals: a ratio over items, its 95 % interval by a bootstrap over items, and a paired test.

Every measure is a signed sum of ratios `sum(hits) / sum(of)`. The bootstrap draws items, and takes
the same items for all terms: what is compared is compared on the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DRAWS = 2_000
LEVEL = 0.95
MAX_KEPT = 8_000_000
"""Weights that are held at once: 32 MB."""


@dataclass(frozen=True, slots=True)
class Share:
    """Per item, `[N]` each: what was counted, and of how many answers."""

    hits: Array
    of: Array


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
    """A two-sided exact test between two conditions, on the items in which they differ.

    With one answer per item and condition it is McNemar's. `better`: items in which the first
    condition did better.
    """

    better: int
    worse: int
    p_value: float


class Bootstrap:
    """Draws of `items` items with replacement: the same ones each time it is asked."""

    def __init__(self, items: int, draws: int = DRAWS, seed: int = 0) -> None:
        self._items, self._draws, self._seed = items, draws, seed
        is_kept = items * draws <= MAX_KEPT
        self._kept = list(self._weights()) if is_kept else None

    def sums(self, columns: Array) -> Array:
        """Sums over the drawn items: `[N, K]` to `[draws, K]`."""
        weights = self._kept if self._kept is not None else self._weights()
        return np.concatenate([part @ columns for part in weights])

    def _weights(self) -> Iterator[npt.NDArray[np.float32]]:
        """How often each item was drawn, `[some draws, N]` at a time."""
        rng = np.random.default_rng(self._seed)
        step = max(1, min(self._draws, 1_000_000 // max(self._items, 1)))
        for begin in range(0, self._draws, step):
            rows = min(step, self._draws - begin)
            drawn = rng.integers(self._items, size=(rows, self._items))
            drawn += np.arange(rows)[:, None] * self._items
            counts = np.bincount(drawn.ravel(), minlength=rows * self._items)
            yield counts.reshape(rows, self._items).astype(np.float32)


def estimate(
    terms: Sequence[Term], bootstrap: Bootstrap, *, is_rate: bool = True
) -> Estimate | None:
    """The signed sum of the shares; None where one of them has no answers.

    Only items that all terms have count. `is_rate`: the hits are counts of the
    answers, so that a value without any spread still has an interval of `no_spread`.
    """
    shares = [share for _, share in terms]
    has = np.array([share.of > 0 for share in shares])
    kept = has.all(axis=0)
    if not kept.any():
        return None
    columns = np.stack([one for s in shares for one in (s.hits * kept, s.of * kept)], axis=1)
    value = float(_value(columns.sum(axis=0)[None], terms)[0])
    low, high = _ends(_value(bootstrap.sums(columns), terms), value)
    items = int(kept.sum())
    if is_rate and low == high == value:
        wide = no_spread(items)
        is_difference = len(terms) > 1
        low = value - wide if is_difference or value == 1.0 else low
        high = value + wide if is_difference or value == 0.0 else high
    if is_rate:
        # A sum of shares cannot leave what its terms allow: 0 to 1 for each with its sign.
        low = max(low, float(sum(sign for sign, _ in terms if sign < 0)))
        high = min(high, float(sum(sign for sign, _ in terms if sign > 0)))
    return Estimate(value, low, high, items, int(columns[:, 1::2].sum()))


def no_spread(items: int) -> float:
    """The largest share that may well show none of itself in so many items (Clopper-Pearson)."""
    return float(1.0 - ((1.0 - LEVEL) / 2) ** (1.0 / items))


def sign_test(first: Share, second: Share) -> SignTest:
    """Compare two conditions item by item; several seeds of an item count once, by their mean."""
    has = (first.of > 0) & (second.of > 0)
    gaps = first.hits[has] * second.of[has] - second.hits[has] * first.of[has]
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
