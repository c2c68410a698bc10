"""What a gateway's `/metrics` say, read into plain numbers."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Labels = frozenset[tuple[str, str]]
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Scrape:
    """Samples by name and labels; names less `personadual_`. Taken at `at_s`, of a clock that
    never jumps."""

    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)
    at_s: float = field(default_factory=time.monotonic, compare=False)

    @classmethod
    def of(cls, text: str) -> Scrape:
        """Read what Prometheus would; raises ValueError where it is not of that form."""
        from prometheus_client.parser import text_string_to_metric_families

        found: dict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix("personadual_")
                found[name][frozenset(sample.labels.items())] = sample.value
        return cls(dict(found))

    def since(self, before: Scrape) -> Scrape:
        """What was counted between two scrapes. A gateway that was started anew counts from 0."""
        if self.total("requests_total") < before.total("requests_total"):
            return self
        return Scrape(
            {
                name: {
                    labels: value - before.samples.get(name, {}).get(labels, 0.0)
                    for labels, value in rows.items()
                }
                for name, rows in self.samples.items()
            }
        )

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels."""
        wanted = labels.items()
        return sum(v for has, v in self.samples.get(name, {}).items() if wanted <= set(has))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums by the values of one label."""
        sums: dict[str, float] = defaultdict(float)
        for has, value in self.samples.get(name, {}).items():
            sums[dict(has).get(label, "")] += value
        return dict(sums)

    def quantiles(self, name: str, **labels: str) -> list[float | None]:
        """p50, p95 and p99 of a histogram, as Prometheus reckons them; None where it is empty."""
        buckets: dict[float, float] = defaultdict(float)
        for has, value in self.samples.get(f"{name}_bucket", {}).items():
            if labels.items() <= set(has):
                buckets[float(dict(has)["le"])] += value
        ordered = sorted(buckets.items())
        return [quantile(ordered, share) for share in QUANTILES]


def quantile(buckets: Iterable[tuple[float, float]], share: float) -> float | None:
    """The value below which a share of observations lies, from (bound, count up to it) in order.

    Straight lines between the bounds; the highest finite bound for what lies above it.
    """
    ordered = list(buckets)
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank = share * ordered[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in ordered:
        if count >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower
