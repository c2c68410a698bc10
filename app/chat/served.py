"""What the engine serves: model name, card, tag ids, and whether it has a gate."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from model.card import Card, load_card
from model.engine import Engine
from model.errors import EngineBroken, EngineUnavailable, UnknownModel
from model.mode import Mode, TagIds
from model.prompt import Plainer

logger = logging.getLogger("personadual.engine")

REFRESH_S = 30.0
RETRY_S = 1.0
"""Between the beginnings of two looks that nobody waits for: a full engine needs no more."""


@dataclass(frozen=True, slots=True)
class Served:
    """One look at the engine."""

    name: str
    created: int
    max_model_len: int | None
    card: Card
    tag_ids: TagIds
    has_gate: bool
    plainer: Plainer
    has_special_tags: bool
    """Whether a tag is, or holds, a token that the engine leaves out of its text."""

    @property
    def aliases(self) -> dict[str, Mode]:
        return {f"{self.name}-{mode}": mode for mode in Mode}

    def forced_by(self, model: str | None) -> Mode | None:
        """The mode that a model name forces.

        Raises:
            UnknownModel: neither the model nor one of its aliases has this name.
        """
        if model is None or model == self.name:
            return None
        try:
            return self.aliases[model]
        except KeyError:
            names = ", ".join([self.name, *self.aliases])
            raise UnknownModel(
                f"model: there is no such model here; one of: {names}", field="model"
            ) from None


class ServedModel:
    """Looks at the engine when first asked, and again now and then, one look at a time."""

    def __init__(self, engine: Engine, checkpoint: Path | None = None) -> None:
        self._engine = engine
        self._checkpoint = checkpoint
        self._seen: Served | None = None
        self._renew_at = 0.0
        self._begun_at = 0.0
        self._looking: asyncio.Task[Served] | None = None
        self._told = False
        self._had_gate = True

    async def get(self) -> Served:
        """The last look; a first one where there is none. An old one is renewed meanwhile.

        Raises:
            EngineError: the engine cannot be asked.
        """
        if self._seen is None:
            return await self.look()
        is_due = time.monotonic() > max(self._renew_at, self._begun_at + RETRY_S)
        if is_due and self._looking is None:
            self._start_looking().add_done_callback(_take_failure)
        return self._seen

    async def look(self) -> Served:
        """Look at the engine now; all who ask at the same time share one look."""
        # One who leaves must not take the look away from the others who wait for it.
        return await asyncio.shield(self._looking or self._start_looking())

    def forget(self) -> None:
        """The engine is gone: it may come back with another checkpoint."""
        self._seen = None

    def doubt(self) -> None:
        """The engine cannot answer now: the last look serves on, and is renewed soon."""
        self._renew_at = 0.0

    def _start_looking(self) -> asyncio.Task[Served]:
        self._begun_at = time.monotonic()
        self._looking = asyncio.create_task(self._look())
        return self._looking

    async def _look(self) -> Served:
        try:
            self._seen = await self._ask()
            self._renew_at = time.monotonic() + REFRESH_S
            return self._seen
        finally:
            self._looking = None

    async def _ask(self) -> Served:
        try:
            return await self._describe()
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineBroken("the engine does not describe itself as vLLM does") from error

    async def _describe(self) -> Served:
        listed = await self._engine.models()
        if not listed:
            raise EngineUnavailable("the engine serves no model")
        first = listed[0]
        card = self._card(str(first.get("root") or ""))
        has_gate = await self._engine.has_gate()
        self._tell_of_gate(has_gate)
        tag_ids = await self._engine.tag_ids(card.tags)
        is_special = any(text in tag for tag in card.tags for text in card.control_strings)
        return Served(
            name=str(first["id"]),
            created=int(first.get("created") or 0),
            max_model_len=first.get("max_model_len"),
            card=card,
            tag_ids=tag_ids,
            has_gate=has_gate,
            plainer=Plainer(card.control_strings),
            has_special_tags=is_special or 1 in (len(tag_ids.general), len(tag_ids.personalized)),
        )

    def _tell_of_gate(self, has_gate: bool) -> None:
        """Say it once per change: readiness alone looks every few seconds."""
        if self._had_gate and not has_gate:
            logger.error(
                "the engine has no PersonaDual gate: it decides no modes; start it with"
                " --logits-processors model.gate:ModeGate"
            )
        elif has_gate and not self._had_gate:
            logger.warning("the engine has its PersonaDual gate again")
        self._had_gate = has_gate

    def _card(self, root: str) -> Card:
        folder = self._checkpoint or Path(root)
        card, warning = load_card(folder)
        if warning and not self._told:
            self._told = True
            logger.warning("%s (set PERSONADUAL_CHECKPOINT where the folder is elsewhere)", warning)
        return card


def _take_failure(look: asyncio.Task[Served]) -> None:
    """A look that nobody waited for may fail: the last one stands, and requests will tell."""
    if not look.cancelled():
        look.exception()
