"""The policy in force: read from its file, read again on demand, asked for each request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.access import audit
from app.access.auth import Caller
from app.access.keys import MAX_KEYS
from app.access.policy import Policy, Ruling, resolve, rule_of
from app.metrics import Metrics, PolicyOutcome
from app.settings import Settings
from model.errors import PolicyInvalid
from model.toml import read_toml
from model.validation import from_validation

logger = logging.getLogger("personadual.gateway")
_READER = TypeAdapter(Policy)


class Policies:
    """Says what the dial of a caller is.

    Raises:
        PolicyInvalid: there is a policy file, and it cannot be used.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._file = settings.policy
        self._metrics = metrics
        self._settings_rule = rule_of(settings)
        self._apply(policy_of(settings))

    def ruling(self, caller: Caller) -> Ruling:
        found = self._rulings.get(caller.key_id)
        if found is None:
            if len(self._rulings) >= MAX_KEYS:
                self._rulings.clear()
            # A key never changes: what was worked out for it holds until the policy does.
            found = self._rulings[caller.key_id] = resolve(
                self._policy, self._settings_rule, caller.tenant, caller.key_id, caller.dial
            )
        return found

    def reload(self) -> None:
        """Read the file again. One that cannot be used changes nothing, and the log says why."""
        if self._file is None:
            return
        try:
            self._apply(read_policy(self._file))
        except PolicyInvalid as error:
            self._metrics.policy_reloads(PolicyOutcome.REFUSED).inc()
            logger.error("the policy stays as it was: %s", error.message)
            return
        self._metrics.policy_reloads(PolicyOutcome.APPLIED).inc()
        audit.record("policy_applied", None, file=str(self._file))

    def _apply(self, policy: Policy) -> None:
        self._policy = policy
        self._rulings: dict[str | None, Ruling] = {}


def policy_of(settings: Settings) -> Policy:
    """The policy that the settings name, else one that says nothing; errors as of `read_policy`."""
    return Policy() if settings.policy is None else read_policy(settings.policy)


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyInvalid: it cannot be read, or a field is unknown or wrong; the message names it.
    """
    content = read_toml(path, PolicyInvalid)
    try:
        return _READER.validate_python(content)
    except ValidationError as error:
        wrong = from_validation(error)
        raise PolicyInvalid(f"{path}: {wrong.message}", field=wrong.field) from error


@contextlib.contextmanager
def reloading(settings: Settings, policies: Policies) -> Iterator[None]:
    """Within the block SIGHUP reads the policy file again."""
    if settings.policy is None:
        yield
        return
    loop = asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: no signals here
        loop.add_signal_handler(signal.SIGHUP, policies.reload)
    yield
    with contextlib.suppress(RuntimeError, ValueError):
        loop.remove_signal_handler(signal.SIGHUP)
