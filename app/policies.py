"""The policy in force: settings, and a caller's rules on top of them."""

from __future__ import annotations

from app.auth import Caller
from app.policy import Policy, Ruling, resolve, rule_of
from app.settings import Settings


class Policies:
    """Says what the dial of a caller is."""

    def __init__(self, settings: Settings) -> None:
        self._settings_rule = rule_of(settings)
        self._policy = Policy()

    def ruling(self, caller: Caller) -> Ruling:
        return resolve(self._policy, self._settings_rule, caller.tenant, caller.key_id, caller.dial)
