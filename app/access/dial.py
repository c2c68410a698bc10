"""The dial of one request: what it asks for, within what its policy leaves to it. Pure."""

from __future__ import annotations

from app.access.policy import Ruling
from app.schemas import ChatRequest
from model.decision import Dial, Source
from model.errors import InvalidRequest, OverrideRefused
from model.mode import Isolation, Mode, ModeWish


def choose_dial(request: ChatRequest, alias: Mode | None, ruling: Ruling) -> tuple[Dial, Source]:
    """What the gate is asked, and who asks it: the request, else the policy, else the card.

    Raises:
        InvalidRequest: the model's alias and `personadual.mode` contradict each other.
        OverrideRefused: the request asks for what the policy does not leave to it.
    """
    extension = request.personadual
    if alias is not None and extension.mode not in (None, ModeWish(alias)):
        raise InvalidRequest(
            f"personadual.mode is {extension.mode}, but the model's name forces {alias}",
            field="personadual.mode",
        )
    wanted = extension.mode if alias is None else ModeWish(alias)
    threshold = extension.threshold
    is_sampled = extension.decision == "sample"
    if not ruling.may_override:
        by = "personadual.mode" if alias is None else "model"
        _check_asks_nothing_else(by, wanted, threshold, is_sampled, ruling)
        wanted = threshold = None
    if wanted is not None and wanted.forced is not None:
        return Dial(forced=wanted.forced), Source.REQUEST
    is_silent = wanted is None and threshold is None and not is_sampled
    if is_silent and ruling.mode.forced is not None:
        return Dial(forced=ruling.mode.forced), Source.POLICY
    threshold = ruling.threshold if threshold is None else threshold
    if threshold is not None and not is_sampled:
        return Dial(threshold=threshold), Source.THRESHOLD
    return Dial(sample=is_sampled), Source.MODEL


def _check_asks_nothing_else(
    mode_field: str,
    mode: ModeWish | None,
    threshold: float | None,
    is_sampled: bool,
    ruling: Ruling,
) -> None:
    """Refuse a request that wants another dial than its policy, where it may not override;
    `mode_field` is where it names a mode."""
    asked = {
        mode_field: mode not in (None, ruling.mode),
        "personadual.threshold": threshold not in (None, ruling.threshold),
        "personadual.decision": is_sampled,
    }
    for field_name, is_other in asked.items():
        if is_other:
            hint = "ask for a name that forces no mode" if field_name == "model" else "leave it out"
            raise OverrideRefused(
                f"{field_name}: the policy sets it and lets no request change it; {hint}",
                field=field_name,
            )


def choose_isolation(request: ChatRequest, ruling: Ruling) -> Isolation:
    """A request may always be stricter than its policy."""
    asked = request.personadual.isolation
    is_looser = asked is Isolation.SHARED and ruling.isolation is Isolation.STRICT
    if is_looser and not ruling.may_override:
        raise OverrideRefused(
            "personadual.isolation: the policy is strict; leave it out",
            field="personadual.isolation",
        )
    return asked or ruling.isolation
