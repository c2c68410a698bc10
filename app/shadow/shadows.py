"""Shadows: some answers with a persona are given again without it, and the two are compared.

A shadow is what strict isolation answers: general mode, and no persona in the prompt. In general
mode an answer that differs from its shadow is interference; in personalised mode it is what the
persona is for.

Chance is kept out. An answer at temperature 0 is compared as it was served. A sampled one differs
from any second one, and the same seed does not help: the engine draws by position, which the
persona moves. So there both sides are asked for at temperature 0, in the mode that was served.

A shadow begins when its answer has ended and is the first to go under load. It is no decision of
a user: no other metric counts it. Its prefix-cache entries stay with those of its user.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from app.chat import wire
from app.chat.plan import Plan
from app.chat.stops import before_stop
from app.metrics import Metrics, ShadowOutcome
from app.settings import Settings
from app.shadow.likeness import MAX_CHARACTERS, Likeness, compare
from app.shadow.log import ShadowLog
from model.card import Card
from model.decision import Decision, Dial
from model.engine import Body, Engine
from model.errors import EngineBroken, PersonaDualError
from model.mode import Isolation, Mode
from model.persona import PersonaStatus
from model.reply import parse_reply

logger = logging.getLogger("personadual.shadow")

LOOK_S = 0.25
"""How often a shadow looks whether it is in the way."""
MAX_LOGGED_CHARACTERS = 2_000
"""What the shadow log shows of one text."""
# How the answer comes, and what comes beside it: of no use here.
_NOT_REPEATED = (
    *("stream", "stream_options", "n", "logprobs", "top_logprobs", "prompt_logprobs"),
    *("logprob_token_ids", "return_token_ids"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """All that a shadow needs of its request, which is let go.

    `served` is the answer that went out, or `again` the engine's request for one to compare.
    """

    without: Body
    again: Body | None
    served: str
    mode: Mode
    card: Card
    stops: tuple[str, ...]
    notes: dict[str, Any]


class Shadows:
    """Begins shadows, bounds them, counts what came out."""

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        settings: Settings,
        log: ShadowLog | None = None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._settings = settings
        self._log = log
        self._running: set[asyncio.Task[ShadowOutcome]] = set()
        self._next_look: asyncio.TimerHandle | None = None
        self._is_log_away = False

    def offer(self, plan: Plan, decision: Decision, answer: Callable[[], str | None]) -> None:
        """Hear of an answer that has ended; `answer` gives its text. Returns at once."""
        is_applied = plan.persona.status is PersonaStatus.APPLIED and plan.is_counted
        if not is_applied or random.random() >= self._settings.shadow_rate:
            return
        is_one = plan.request.n in (None, 1) and decision.mode is not None
        text = answer() if is_one else None
        if not text:
            self._metrics.shadows(ShadowOutcome.SKIPPED).inc()
        elif len(self._running) >= self._settings.shadow_concurrency or self._is_busy():
            self._metrics.shadows(ShadowOutcome.DROPPED).inc()
        else:
            shadow = asyncio.create_task(self._run(plan, decision, text[:MAX_CHARACTERS]))
            self._running.add(shadow)
            shadow.add_done_callback(self._finish)
            if self._next_look is None:
                self._look()

    async def close(self) -> None:
        """Cancel what runs."""
        if self._next_look is not None:
            self._next_look.cancel()
        for shadow in self._running:
            shadow.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _is_busy(self) -> bool:
        return self._metrics.inflight_now() >= self._settings.shadow_busy_from

    def _look(self) -> None:
        """While shadows are under way: give them up when they are in the way."""
        if self._is_busy():
            for shadow in self._running:
                shadow.cancel()
        again = asyncio.get_running_loop().call_later
        self._next_look = again(LOOK_S, self._look) if self._running else None

    def _finish(self, shadow: asyncio.Task[ShadowOutcome]) -> None:
        self._running.discard(shadow)
        outcome = ShadowOutcome.DROPPED if shadow.cancelled() else shadow.result()
        self._metrics.shadows(outcome).inc()

    async def _run(self, plan: Plan, decision: Decision, served: str) -> ShadowOutcome:
        try:
            pair = make_pair(plan, decision, served, has_texts=self._settings.shadow_log_text)
            del plan  # the request is over, and may be large
            return await self._compare(pair)
        except PersonaDualError:
            return ShadowOutcome.FAILED
        except Exception:  # the edge: behind a task nobody is left
            logger.exception("a shadow failed")
            return ShadowOutcome.FAILED

    async def _compare(self, pair: Pair) -> ShadowOutcome:
        served = pair.served
        if pair.again is not None:
            served = _read(await self._engine.complete(pair.again), pair)
        shadow = _read(await self._engine.complete(pair.without), pair)
        likeness = compare(served, shadow, self._settings.shadow_similarity)
        outcome = ShadowOutcome.of(pair.mode, is_same=likeness.is_same)
        if self._log is not None:
            entry = _entry(pair, outcome, likeness, served, shadow)
            await asyncio.to_thread(self._write, self._log, entry)
        return outcome

    def _write(self, log: ShadowLog, entry: dict[str, Any]) -> None:
        try:
            log.write(entry)
            self._is_log_away = False
        except OSError as error:
            # The comparison counts all the same, and one line says why the log has none of it.
            if not self._is_log_away:
                logger.error("the shadow log cannot be written: %s", error.strerror)
            self._is_log_away = True


def make_pair(plan: Plan, decision: Decision, served: str, *, has_texts: bool) -> Pair:
    """What has to be asked, and what the shadow log says of the request."""
    assert decision.mode is not None
    is_sampled = plan.request.temperature != 0
    notes: dict[str, Any] = {
        "mode": decision.mode,
        "source": decision.source,
        "probability": decision.probability,
        "isolation": plan.isolation,
        "is_asked_again": is_sampled,
    }
    if has_texts:
        notes |= {"persona": _cut(plan.persona.text), "question": _cut(_question(plan))}
    return Pair(
        without=_repeat(replace(plan, isolation=Isolation.STRICT).decided(Mode.GENERAL)),
        again=_repeat(replace(plan, dial=Dial(forced=decision.mode))) if is_sampled else None,
        served=served,
        mode=decision.mode,
        card=plan.served.card,
        stops=plan.stops,
        notes=notes,
    )


def _repeat(plan: Plan) -> dict[str, Any]:
    body = {key: value for key, value in plan.body().items() if key not in _NOT_REPEATED}
    return {**body, "temperature": 0}


def _read(raw: bytes, pair: Pair) -> str:
    try:
        choice = wire.decode_completion(raw).choices[0]
    except (*wire.UNREADABLE, IndexError) as error:
        raise EngineBroken("the engine's answer is not a chat completion") from error
    text, card = choice.message.get("content") or "", pair.card
    answer = parse_reply(text, card.tags, reasons=card.reasons).answer
    return before_stop(answer, pair.stops)


def _entry(
    pair: Pair, outcome: ShadowOutcome, likeness: Likeness, served: str, shadow: str
) -> dict[str, Any]:
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "outcome": outcome,
        "similarity": likeness.similarity,
        **pair.notes,
    }
    if "question" in pair.notes:
        entry |= {"answer": _cut(served), "shadow": _cut(shadow)}
    return entry


def _question(plan: Plan) -> str:
    """The text of the last message."""
    content = plan.raw["messages"][-1].get("content")
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content or ""


def _cut(text: str | None) -> str:
    return (text or "")[:MAX_LOGGED_CHARACTERS]
