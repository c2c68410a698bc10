"""Traces: how one question becomes an item, with what the teacher writes for it.

A personalised trace is only asked for where the teacher, under the persona and without the key,
was right: else it would learn to argue for what it does not see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from model.mode import Mode
from training.data.prompts import Prompts, persona_wish
from training.data.sample import rank
from training.data.sources import Question
from training.data.teacher import Dropped, Teacher
from training.items import Condition, Item, Kind, Trace
from training.rewards import matches

WRONG = "wrong without the key"


class Maker:
    """Makes items. `personas` are the ones that have nothing to do with a question."""

    def __init__(
        self, teacher: Teacher, prompts: Prompts, personas: Sequence[str], seed: int
    ) -> None:
        self._teacher = teacher
        self._prompts = prompts
        self._personas = personas
        self._seed = seed

    async def personalized(self, question: Question) -> Item:
        """An SFT item whose mode is personalised, with a general trace too where one comes.

        Raises:
            Dropped: the teacher wrote nothing usable, or was wrong without the key.
        """
        persona = await self._aligned(question)
        blind = await self._teacher.ask(self._prompts.blind(question, persona))
        if not matches(blind.answer, [question.answer], question.match):
            raise Dropped(WRONG)
        wish = self._prompts.personalized(question, persona)
        traces = {Mode.PERSONALIZED: await self._teacher.ask(wish)}
        # The other mode is extra: training may force it, and leaves it out where it is missing.
        with contextlib.suppress(Dropped):
            traces[Mode.GENERAL] = await self._teacher.ask(self._prompts.general(question))
        return self._item(question, Mode.PERSONALIZED, persona, traces)

    async def general(self, question: Question) -> Item:
        """An SFT item whose mode is general. It has no personalised trace, which would be about
        the aligned persona, while a general row may stand under any.

        Raises:
            Dropped: the teacher wrote nothing usable.
        """
        persona = await self._aligned(question)
        trace = await self._teacher.ask(self._prompts.general(question))
        return self._item(question, Mode.GENERAL, persona, {Mode.GENERAL: trace})

    async def reinforced(self, question: Question) -> Item:
        """An RL item, without traces; its mode is the one that its kind asks for.

        Raises:
            Dropped: the teacher wrote no persona.
        """
        mode = Mode.GENERAL if question.kind is Kind.OBJECTIVE else Mode.PERSONALIZED
        return self._item(question, mode, await self._aligned(question), {})

    async def _aligned(self, question: Question) -> str:
        if question.persona is not None:
            return question.persona
        return await self._teacher.ask(persona_wish(question.text))

    def _item(
        self, question: Question, mode: Mode, aligned: str, traces: Mapping[Mode, Trace]
    ) -> Item:
        place = rank(self._seed, "persona", question.id)
        unaligned = self._personas[place % len(self._personas)]
        return Item(
            id=question.id,
            kind=question.kind,
            topic=f"{question.source}/{question.task}",
            entity=question.entity,
            is_hard=False,
            mode=mode,
            question=question.text,
            answers=[question.answer],
            match=question.match,
            personas={Condition.ALIGNED: aligned, Condition.UNALIGNED: unaligned},
            traces=dict(traces),
        )
