"""What the advantage is made of: options by name, read before torch is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Variant = Literal["paper", "sample_gap", "plain"]
PrefixCredit = Literal["paper", "behaviour"]
InterOn = Literal["all", "prefix"]
PrefixKl = Literal["same", "capped", "off"]


@dataclass(frozen=True, slots=True)
class DualAdvantageConfig:
    """What the advantage is made of. The defaults are the paper's.

    `variant`: `paper` takes the gap of the means; `sample_gap` is the formula of the released
    code, twice plain GRPO where halves are equal; `plain` is GRPO without scaling, blind to modes.
    `prefix_weight`: the paper's beta, by which the advantage of the tag's tokens is multiplied.
    `prefix_credit`: `behaviour` also weights it by the policy's own probability of that mode.
    `inter_on`: `prefix` keeps the gap between the modes away from the tokens behind the tag.
    `prefix_kl` and `kl_cap` (nats): see `cap_reference`.

    Raises:
        ValueError: an option is unknown, or a number is out of range.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own name for it

    variant: Variant = "paper"
    prefix_weight: float = 2.0
    prefix_credit: PrefixCredit = "paper"
    inter_on: InterOn = "all"
    prefix_kl: PrefixKl = "same"
    kl_cap: float = 1.0

    def __post_init__(self) -> None:
        require("variant", self.variant, get_args(Variant))
        require("prefix_credit", self.prefix_credit, get_args(PrefixCredit))
        require("inter_on", self.inter_on, get_args(InterOn))
        require("prefix_kl", self.prefix_kl, get_args(PrefixKl))
        if not 0 <= self.prefix_weight < math.inf:
            raise ValueError("prefix_weight must be a finite number, zero or more")
        if not 0 < self.kl_cap < math.inf:
            raise ValueError("kl_cap must be a finite number above zero")


def require(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}")
