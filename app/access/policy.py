"""Policy: the operator's dial for the deployment, for tenants and for keys. Pure rules.

The most specific rule wins: the request, where it may override, then the key, its tenant, the
deployment. What switches personalisation off wins over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, StrictBool

from app.settings import Name, Settings, WhenStoreAway
from model.mode import Isolation, ModeWish
from model.persona import Attribute

T = TypeVar("T")
_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one layer says of the dial; None leaves it to the next, less specific one.

    `may_override`: whether a request may ask for something else.
    """

    __pydantic_config__ = _FORBID

    mode: ModeWish | None = None
    threshold: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    isolation: Isolation | None = None
    may_override: StrictBool | None = None
    when_store_away: WhenStoreAway | None = None


SILENT = Rule()


@dataclass(frozen=True, slots=True)
class OffRule:
    """Switches personalisation off for some tenants, for personas with some attributes, or where
    both hold. An attribute is compared with one value, or with several of which one must equal it.
    """

    __pydantic_config__ = _FORBID

    name: Name
    tenants: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute | tuple[Attribute, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tenants and not self.attributes:
            raise ValueError("name tenants, attributes or both: whom it is for")

    def applies(self, tenant: str, attributes: Mapping[str, Attribute]) -> bool:
        if self.tenants and tenant not in self.tenants:
            return False
        return all(
            name in attributes and _is_one_of(attributes[name], wanted)
            for name, wanted in self.attributes.items()
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file. `tenants` and `keys` are rules by tenant and by key id."""

    __pydantic_config__ = _FORBID

    deployment: Rule = SILENT
    tenants: Mapping[str, Rule] = field(default_factory=dict)
    keys: Mapping[str, Rule] = field(default_factory=dict)
    off: tuple[OffRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """All layers brought together for one caller; `rule` names the one that set the mode."""

    tenant: str
    mode: ModeWish
    threshold: float | None
    isolation: Isolation
    may_override: bool
    when_store_away: WhenStoreAway
    rule: str
    off: tuple[OffRule, ...] = ()

    def switched_off(self, attributes: Mapping[str, Attribute]) -> str | None:
        """The name of the rule that switches personalisation off for a persona, if one does."""
        for rule in self.off:
            if rule.applies(self.tenant, attributes):
                return rule.name
        return None


def rule_of(settings: Settings) -> Rule:
    """The environment's settings as the least specific rule: every field is set but threshold."""
    return Rule(
        mode=settings.mode,
        threshold=settings.threshold,
        isolation=settings.isolation,
        may_override=True,
        when_store_away=settings.when_store_away,
    )


def resolve(
    policy: Policy, settings_rule: Rule, tenant: str, key_id: str | None, key_rule: Rule
) -> Ruling:
    """Bring the layers together. The file's word on a key goes before the key's own."""
    layers: list[tuple[str, Rule]] = [
        (f"keys.{key_id}", policy.keys.get(key_id or "", SILENT)),
        ("key", key_rule),
        (f"tenants.{tenant}", policy.tenants.get(tenant, SILENT)),
        ("deployment", policy.deployment),
        ("settings", settings_rule),
    ]
    name, mode = _mode(layers)
    rules = [rule for _, rule in layers]
    return Ruling(
        tenant=tenant,
        mode=mode,
        threshold=_first([rule.threshold for rule in rules]),
        isolation=_first([rule.isolation for rule in rules]) or Isolation.SHARED,
        may_override=_first([rule.may_override for rule in rules]) is not False,
        when_store_away=_first([rule.when_store_away for rule in rules]) or "general",
        rule=name,
        off=policy.off,
    )


def _mode(layers: Sequence[tuple[str, Rule]]) -> tuple[str, ModeWish]:
    """The most specific mode. A threshold alone says `auto`: it has no meaning otherwise."""
    for name, rule in layers:
        if rule.mode is not None:
            return name, rule.mode
        if rule.threshold is not None:
            return name, ModeWish.AUTO
    return "settings", ModeWish.AUTO


def _first(values: Sequence[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _is_one_of(value: Attribute, wanted: Attribute | tuple[Attribute, ...]) -> bool:
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    # To Python 1 equals True; to whoever writes a rule it does not.
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in several)
