"""The policy in force: read from its file, read again on demand, asked for each request."""

from __future__ import annotations

import hashlib
import logging
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app import trail
from app.auth import Caller
from app.errors import from_validation
from app.metrics import Metrics, PolicyOutcome
from app.policy import SILENT, Policy, Ruling, resolve, rule_of
from app.settings import Settings
from model.errors import PolicyInvalid

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
        self._tenant = settings.tenant
        self._apply(Policy() if self._file is None else read_policy(self._file))

    def ruling(self, caller: Caller) -> Ruling:
        if caller.key_id is None:
            return self._anyones
        return resolve(self._policy, self._settings_rule, caller.tenant, caller.key_id, caller.dial)

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
        digest = hashlib.sha256(self._file.read_bytes()).hexdigest()[:12]
        trail.record("policy_applied", None, file=str(self._file), sha256=digest)

    def _apply(self, policy: Policy) -> None:
        self._policy = policy
        self._anyones = resolve(policy, self._settings_rule, self._tenant, None, SILENT)


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyInvalid: it cannot be read, or a field is unknown or wrong; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyInvalid(f"{path} is not TOML: {error}") from error
    try:
        return _READER.validate_python(content)
    except ValidationError as error:
        wrong = from_validation(error)
        raise PolicyInvalid(f"{path}: {wrong.message}", field=wrong.field) from error
