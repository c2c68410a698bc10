"""A plan: all that a chat request asks of us, worked out before the engine hears of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.access.dial import choose_dial, choose_isolation
from app.access.policy import Ruling
from app.chat.gateable import check_gateable
from app.chat.served import Served
from app.chat.stops import read_stops
from app.schemas import ChatRequest
from model.decision import GATE_ARGUMENTS, GATED_ANSWER, GATED_CALL, GATED_KEY, Dial, Source
from model.errors import EngineUnavailable, InvalidRequest
from model.mode import Isolation, Mode
from model.persona import Attribute, Persona, PersonaStatus, check_id, check_text, is_id
from model.prompt import render

# What the engine does not understand, what is ours, and what would show the tag to the caller.
# `include_reasoning` is the gateway's to obey: an engine that obeys it drops log-probabilities.
_NOT_FORWARDED = (
    *("personadual", "user", "safety_identifier", "cache_salt"),
    *("echo", "return_tokens_as_token_ids", "include_reasoning"),
)
_GRAMMARS = ("response_format", "structured_outputs")
_NOT_PROBED = (
    *("stream", "stream_options", "stop", "min_tokens", "max_completion_tokens", "n"),
    *("top_logprobs", "prompt_logprobs"),
)


@dataclass(frozen=True, slots=True)
class PersonaChoice:
    """Which persona a request means: an id, or the text itself, or none.

    `is_off`: the caller switched persona and statistics off.
    """

    id: str | None = None
    text: str | None = None
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class PersonaUse:
    """The persona of one answer, and what became of it. The text is None where it is not sent."""

    status: PersonaStatus
    id: str | None = None
    version: int | None = None
    text: str | None = None
    attributes: Mapping[str, Attribute] | None = None

    def withheld(self) -> PersonaUse:
        return replace(self, status=PersonaStatus.WITHHELD, text=None)

    @classmethod
    def of(cls, choice: PersonaChoice, persona: Persona | None) -> PersonaUse:
        if choice.text is not None:
            return cls(PersonaStatus.APPLIED, text=choice.text)
        if persona is None:
            return cls(PersonaStatus.ABSENT, choice.id)
        return cls(
            PersonaStatus.APPLIED,
            choice.id,
            persona.version,
            persona.as_text(),
            persona.attributes,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """How one request is answered.

    `rule` names the rule of the policy that forced the mode, where one did. `stops` are the stop
    texts that are looked for here, and not by the engine.
    """

    request: ChatRequest
    raw: Mapping[str, Any]
    served: Served
    dial: Dial
    source: Source
    persona: PersonaUse
    isolation: Isolation
    is_counted: bool
    salt: str | None
    rule: str | None = None
    stops: tuple[str, ...] = ()

    @property
    def is_probed(self) -> bool:
        """Whether the decision is taken by a call of its own, before the answer."""
        if not self.served.has_gate:
            return False
        # vLLM gives either the top log-probabilities or those of chosen ids, not both.
        if self.request.top_logprobs:
            return True
        is_strict = self.isolation is Isolation.STRICT and self.persona.text is not None
        return is_strict and self.dial.forced is None

    @property
    def may_go_on(self) -> bool:
        """Whether a stream that was opened for the decision can be the answer too."""
        one = self.request.n in (None, 1)
        return bool(self.request.stream) and one and not self.request.logprobs

    @property
    def has_grammar(self) -> bool:
        """Whether the answer, not what comes before it, is held by a grammar."""
        form = self.raw.get("response_format")
        is_text = isinstance(form, dict) and form.get("type") == "text"
        return bool(self.raw.get("structured_outputs") or (form and not is_text))

    def decided(self, mode: Mode) -> Plan:
        """The plan after its decision: the mode is forced, and strict keeps the persona out."""
        persona = self.persona
        is_kept_out = mode is Mode.GENERAL and self.isolation is Isolation.STRICT
        if is_kept_out and persona.text is not None:
            persona = persona.withheld()
        return replace(self, dial=Dial(forced=mode), persona=persona)

    def body(self) -> dict[str, Any]:
        """The engine's request."""
        served, dial = self.served, self.dial
        # To OpenAI null is the same as nothing; to vLLM not always.
        given = {key: value for key, value in self.raw.items() if value is not None}
        body = {key: value for key, value in given.items() if key not in _NOT_FORWARDED}
        card = served.card
        body["model"] = served.name
        if self.stops:
            del body["stop"]
        body["messages"] = render(
            self.persona.text, self.raw["messages"], card.prompt, served.plainer
        )
        for name in ("tools", "documents"):
            if body.get(name):
                body[name] = served.plainer.value(body[name], name)
        given_arguments = self.request.chat_template_kwargs or {}
        template_arguments = {
            **served.plainer.value(given_arguments, "chat_template_kwargs"),
            **card.chat_template_kwargs,
        }
        if self.salt is not None:
            body["cache_salt"] = self.salt
        if served.has_gate:
            if body.get("tool_choice") not in (None, "auto", "none"):
                template_arguments[GATED_KEY] = GATED_CALL
            elif self.has_grammar:
                template_arguments[GATED_KEY] = GATED_ANSWER
            body["vllm_xargs"] = {**(self.request.vllm_xargs or {}), **dial.to_arguments()}
            self._make_room(body)
            self._ask_logprobs(body)
        if template_arguments:
            body["chat_template_kwargs"] = template_arguments
        if self.request.stream:
            # We count tokens; the caller sees the usage event only if it asked for it.
            body["stream_options"] = {**(self.request.stream_options or {}), "include_usage": True}
        return body

    def probe(self) -> dict[str, Any]:
        """The engine's request for the decision alone: it ends with the deciding token."""
        body = self.body()
        for name in (*_NOT_PROBED, *_GRAMMARS):
            body.pop(name, None)
        if body.get("tools"):
            # They stay in the prompt, and no grammar of a call that is required begins at once.
            body["tool_choice"] = "none"
        body["max_tokens"] = self.served.tag_ids.parting + 1
        body.update(logprobs=True, logprob_token_ids=list(self.served.tag_ids.rivals()))
        return body

    def _make_room(self, body: dict[str, Any]) -> None:
        """The tag's tokens come on top of what the caller allows, and no stop text ends them."""
        tag_ids = self.served.tag_ids
        forced = self.dial.forced
        length = tag_ids.longest if forced is None else len(tag_ids[forced])
        for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
            if body.get(name):
                body[name] += length
        if body.get("stop") and not body.get("min_tokens"):
            # vLLM looks for stop texts only after the first `min_tokens`; a tag ends in a break.
            body["min_tokens"] = length
        if body.get("allowed_token_ids"):
            both = (*tag_ids.general, *tag_ids.personalized)
            body["allowed_token_ids"] = [*body["allowed_token_ids"], *both]
        if self.served.has_special_tags:
            body["skip_special_tokens"] = False  # or the text would lack its tag

    def _ask_logprobs(self, body: dict[str, Any]) -> None:
        if not self.request.top_logprobs:
            body["logprobs"] = True
            body["logprob_token_ids"] = list(self.served.tag_ids.rivals())


def choose_persona(request: ChatRequest, header: str | None) -> PersonaChoice:
    """Which persona is meant: the extension's text or id, the header, `safety_identifier`, `user`.

    Raises:
        InvalidRequest: the one that counts is malformed; `field` names it.
    """
    extension = request.personadual
    if extension.persona is not None:
        check_text(extension.persona, "personadual.persona")
        return PersonaChoice(text=extension.persona)
    if "persona_id" in extension.model_fields_set and extension.persona_id is None:
        return PersonaChoice(is_off=True)
    for field, value in (
        ("personadual.persona_id", extension.persona_id),
        ("X-Persona-Id", header),
    ):
        if value is not None:
            return PersonaChoice(id=check_id(value, field))
    for value in (request.safety_identifier, request.user):
        if value is not None:
            # OpenAI's own fields take any text; one that can be no persona's id names no persona.
            return PersonaChoice(id=value) if is_id(value) else PersonaChoice()
    return PersonaChoice()


def make_plan(
    request: ChatRequest,
    raw: Mapping[str, Any],
    served: Served,
    ruling: Ruling,
    choice: PersonaChoice,
    persona: PersonaUse,
    salt: str | None,
) -> Plan:
    """Bring everything together.

    Raises:
        InvalidRequest: gate arguments among `vllm_xargs`: they are the gateway's to set; or a
            parameter under which no tag can open the reply, or that would show the persona.
        OverrideRefused: the request asks for what the policy does not leave to it.
        EngineUnavailable: a mode or strict isolation is asked of an engine that has no gate.
    """
    for name in request.vllm_xargs or {}:
        if name in GATE_ARGUMENTS:
            field = f"vllm_xargs.{name}"
            raise InvalidRequest(f"{field}: use the field personadual instead", field=field)
    if served.has_gate:
        check_gateable(raw, served)
    dial, source = choose_dial(request, served.forced_by(request.model), ruling)
    isolation = choose_isolation(request, ruling)
    rule = ruling.rule if source is Source.POLICY else None
    if persona.status is PersonaStatus.UNAVAILABLE:
        dial, source = Dial(forced=Mode.GENERAL), Source.FALLBACK
    if off := ruling.switched_off(persona.attributes or {}):
        dial, source, rule = Dial(forced=Mode.GENERAL), Source.POLICY, off
        isolation = Isolation.STRICT
    is_decided = dial.forced is not None and source is not Source.FALLBACK
    if not served.has_gate and (is_decided or isolation is Isolation.STRICT):
        raise EngineUnavailable("the engine has no PersonaDual gate, so no mode can be forced")
    plan = Plan(
        request=request,
        raw=raw,
        served=served,
        dial=dial,
        source=source,
        persona=persona,
        isolation=isolation,
        is_counted=not choice.is_off,
        salt=salt,
        rule=rule,
        stops=read_stops(raw.get("stop")) if served.has_gate and served.card.reasons else (),
    )
    plan = plan if dial.forced is None else plan.decided(dial.forced)
    if plan.persona.text is not None and raw.get("prompt_logprobs") is not None:
        field = "prompt_logprobs"
        raise InvalidRequest(f"{field}: they would show the persona", field=field)
    return plan


def salt_of(
    request: ChatRequest, choice: PersonaChoice, tenant: str, *, is_alone: bool
) -> str | None:
    """Keeps one user's prefix-cache entries from answering (and timing) another's requests.

    Who names no persona is told apart by OpenAI's own fields, whatever they say. `is_alone`: no
    key tells tenants apart, so that requests of nobody may share.
    """
    mine = choice.id or request.safety_identifier or request.user or choice.text
    if not mine and is_alone:
        return None
    return hashlib.blake2b(f"{tenant}\n{mine or ''}".encode(), digest_size=16).hexdigest()
