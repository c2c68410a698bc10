"""A question of fact, and how its wrong answers are drawn."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fact:
    """A question, its answer, why (one sentence that ends in it), and wrong answers."""

    topic: str
    entity: str
    question: str
    answer: str
    why: str
    wrong: list[str] = field(default_factory=list)
    match: str = "text"


def others(rng: random.Random, pool: list[str], answer: str, count: int = 3) -> list[str]:
    return rng.sample(sorted({text for text in pool if text != answer}), count)
