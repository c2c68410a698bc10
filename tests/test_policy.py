"""Policy: which layer wins, and what switches personalisation off."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.dial import choose_dial
from app.access.policy import OffRule, Policy, Rule, resolve
from app.schemas import ChatRequest
from model.decision import Dial, Source
from model.errors import OverrideRefused
from model.mode import Isolation, Mode, ModeWish

SETTINGS = Rule(ModeWish.AUTO, None, Isolation.SHARED, True, "general")
GENERAL, PERSONAL = Dial(forced=Mode.GENERAL), Dial(forced=Mode.PERSONALIZED)
AUTO = Dial()


def request(**extension: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "x"}]
    return ChatRequest(messages=messages, personadual=extension)


@pytest.mark.parametrize(
    ("layers", "extension", "dial", "source", "rule"),
    [
        # settings, deployment, tenant, key; what the request says; who wins
        ({}, {}, AUTO, Source.MODEL, None),
        ({"deployment": Rule(ModeWish.GENERAL)}, {}, GENERAL, Source.POLICY, "deployment"),
        (
            {"deployment": Rule(ModeWish.GENERAL), "tenant": Rule(ModeWish.PERSONALIZED)},
            {},
            PERSONAL,
            Source.POLICY,
            "tenants.acme",
        ),
        (
            {"tenant": Rule(ModeWish.PERSONALIZED), "key": Rule(ModeWish.GENERAL)},
            {},
            GENERAL,
            Source.POLICY,
            "key",
        ),
        (
            {"key": Rule(ModeWish.GENERAL), "file": Rule(ModeWish.PERSONALIZED)},
            {},
            PERSONAL,
            Source.POLICY,
            "keys.k1",
        ),
        (
            {"tenant": Rule(ModeWish.GENERAL), "key": Rule(ModeWish.AUTO)},
            {},
            AUTO,
            Source.MODEL,
            None,
        ),
        # a threshold says auto where no mode of its own layer contradicts it
        (
            {"tenant": Rule(ModeWish.GENERAL), "key": Rule(threshold=0.8)},
            {},
            Dial(threshold=0.8),
            Source.THRESHOLD,
            None,
        ),
        (
            {"deployment": Rule(threshold=0.7), "tenant": Rule(ModeWish.AUTO)},
            {},
            Dial(threshold=0.7),
            Source.THRESHOLD,
            None,
        ),
        # the request goes first, where it may
        ({"key": Rule(ModeWish.GENERAL)}, {"mode": "personalized"}, PERSONAL, Source.REQUEST, None),
        ({"key": Rule(ModeWish.GENERAL)}, {"mode": "auto"}, AUTO, Source.MODEL, None),
        (
            {"key": Rule(ModeWish.GENERAL)},
            {"threshold": 0.1},
            Dial(threshold=0.1),
            Source.THRESHOLD,
            None,
        ),
        (
            {"key": Rule(ModeWish.GENERAL)},
            {"decision": "sample"},
            Dial(sample=True),
            Source.MODEL,
            None,
        ),
        # where it may not, the same wish is no override
        (
            {"tenant": Rule(ModeWish.GENERAL, may_override=False)},
            {"mode": "general"},
            GENERAL,
            Source.POLICY,
            "tenants.acme",
        ),
        (
            {"tenant": Rule(ModeWish.GENERAL, may_override=False), "key": Rule(may_override=True)},
            {"mode": "personalized"},
            PERSONAL,
            Source.REQUEST,
            None,
        ),
        (
            {"tenant": Rule(ModeWish.GENERAL, may_override=False)},
            {"mode": "personalized"},
            OverrideRefused,
            None,
            None,
        ),
        ({"tenant": Rule(may_override=False)}, {"threshold": 0.3}, OverrideRefused, None, None),
        ({"tenant": Rule(may_override=False)}, {"decision": "sample"}, OverrideRefused, None, None),
    ],
)
def test_the_most_specific_rule_wins(
    layers: dict[str, Rule], extension: dict[str, Any], dial: Any, source: Any, rule: str | None
) -> None:
    """Request, key, tenant, deployment, settings; the file's word on a key before the key's own."""
    policy = Policy(
        deployment=layers.get("deployment", Rule()),
        tenants={"acme": layers.get("tenant", Rule()), "other": Rule(ModeWish.PERSONALIZED)},
        keys={"k1": layers.get("file", Rule()), "k2": Rule(ModeWish.PERSONALIZED)},
    )
    ruling = resolve(policy, SETTINGS, "acme", "k1", layers.get("key", Rule()))
    if isinstance(dial, type):
        with pytest.raises(dial):
            choose_dial(request(**extension), None, ruling)
        return
    assert choose_dial(request(**extension), None, ruling) == (dial, source)
    if source is Source.POLICY:
        assert ruling.rule == rule


def test_what_is_not_the_mode_is_inherited_field_by_field() -> None:
    policy = Policy(
        deployment=Rule(isolation=Isolation.STRICT, when_store_away="refuse"),
        tenants={"acme": Rule(threshold=0.6)},
    )
    ruling = resolve(policy, SETTINGS, "acme", "k1", Rule(ModeWish.AUTO))
    assert (ruling.isolation, ruling.when_store_away) == ("strict", "refuse")
    assert (ruling.mode, ruling.threshold, ruling.rule) == ("auto", 0.6, "key")
    assert resolve(policy, SETTINGS, "other", None, Rule()).threshold is None


@pytest.mark.parametrize(
    ("rule", "attributes", "is_off"),
    [
        (OffRule("x", tenants=("acme",)), {}, True),
        (OffRule("x", tenants=("other",)), {}, False),
        (OffRule("x", attributes={"age_group": "child"}), {"age_group": "child"}, True),
        (OffRule("x", attributes={"age_group": ("child", "teen")}), {"age_group": "teen"}, True),
        (OffRule("x", attributes={"age_group": ("child", "teen")}), {"age_group": "adult"}, False),
        (OffRule("x", attributes={"age_group": "child"}), {}, False),
        (OffRule("x", attributes={"vip": True}), {"vip": 1}, False),
        (OffRule("x", attributes={"level": 1}), {"level": 1.0}, True),
        (OffRule("x", attributes={"a": 1, "b": 2}), {"a": 1}, False),
        (OffRule("x", attributes={"a": 1, "b": 2}), {"a": 1, "b": 2, "c": 3}, True),
        (OffRule("x", ("acme",), {"a": 1}), {"a": 2}, False),
        (OffRule("x", ("other",), {"a": 1}), {"a": 1}, False),
    ],
)
def test_off_rules(rule: OffRule, attributes: Any, is_off: bool) -> None:
    ruling = resolve(Policy(off=(rule,)), SETTINGS, "acme", None, Rule())
    assert ruling.switched_off(attributes) == ("x" if is_off else None)
