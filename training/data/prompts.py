"""Prompts: what the teacher is asked, and how its replies are read.

Four roles, as in the paper: to describe who would ask a question, to answer under a persona without
the key, and to write the reasoning of a mode with the key. A fifth is ours: general mode on a
question that follows from a persona has no key, so the teacher answers it for anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from model.mode import Tags
from model.reading import read_choice
from model.reply import parse_reply
from training.data.sources import Question, tidy_persona
from training.items import Trace, write_reply
from training.rewards import matches

T = TypeVar("T")
MAX_PERSONA_WORDS = 60
PATIENCE = 2
"""A trace may have so many times the words that were asked for."""

_FORM = (
    "Write the reasoning first: plain prose, straight to the point, at most {words} words. Then an"
    " empty line, and on the last line nothing but the answer, as <answer>...</answer>: {answer}."
)
_ANSWERS = {
    "mcq": "the letter of one option",
    "text": "a few words, no sentence",
    "number": "a number",
    "math": "a number or a formula",
    "mention": "a few words",
}
_PERSONA = (
    "Here is a question that somebody asked:\n\n{question}\n\n"
    "Who might ask it? Describe one person whose work, interests or situation go with the subject,"
    " in at most 30 words that could follow 'I am' (such as 'a nurse who ...'). Give no name, do"
    " not repeat the question, and say nothing that answers it or hints at an answer. Reply with"
    " <persona>...</persona> alone."
)
_PERSONALIZED = (
    "You answer a user of whom this is known:\n{persona}\n\nThe user asks:\n{question}\n\n"
    "Reason about what in this description bears on the question, and weigh the user's preferences"
    " where it depends on them. You are the assistant and not this user: never speak as them. "
)
_GENERAL = "Answer this question step by step, without going back or repeating:\n\n{question}\n\n"
_KEY = (
    "The right answer is: {key}\nLead to it by sound steps, as if nobody had told you, and do not"
    " say that it was given. "
)
_ANYBODY = "Nothing is known about who asks: choose what suits most people. "
_REMINDER = "\n\nKeep to the form exactly; a reply in another form cannot be used."
_TOLD = re.compile(r"\b(?:answer key|ground[- ]truth|(?:given|provided) answer)\b", re.IGNORECASE)


class Unusable(Exception):
    """A reply that cannot be used; the reason is its only argument."""


@dataclass(frozen=True, slots=True)
class Wish(Generic[T]):
    """What is asked, and how the reply is read (`read` raises Unusable)."""

    prompt: str
    read: Callable[[str], T]

    def messages(self, attempt: int) -> list[dict[str, str]]:
        """A further attempt differs, so that a teacher at temperature 0 may answer differently."""
        return [{"role": "user", "content": self.prompt + _REMINDER * attempt}]


@dataclass(frozen=True, slots=True)
class Prompts:
    """The wishes of one build: `max_words` per trace, and tags that must not stand in one."""

    max_words: int
    tags: Tags

    def blind(self, question: Question, persona: str) -> Wish[Trace]:
        """Under the persona, without the key."""
        asked = _PERSONALIZED.format(persona=persona, question=question.text)
        return Wish(asked + self._form(question), self._read)

    def personalized(self, question: Question, persona: str) -> Wish[Trace]:
        asked = _PERSONALIZED.format(persona=persona, question=question.text)
        key = _KEY.format(key=question.answer)
        return Wish(asked + key + self._form(question), lambda text: self._keyed(text, question))

    def general(self, question: Question) -> Wish[Trace]:
        asked = _GENERAL.format(question=question.text)
        if question.persona is not None:
            return Wish(asked + _ANYBODY + self._form(question), self._chosen)
        key = _KEY.format(key=question.answer)
        return Wish(asked + key + self._form(question), lambda text: self._keyed(text, question))

    def _form(self, question: Question) -> str:
        return _FORM.format(words=self.max_words, answer=_ANSWERS[question.match])

    def _read(self, text: str) -> Trace:
        """A trace, if the text has the grammar of design 4.2 and nothing but that."""
        plain = text.rpartition("</think>")[2].strip()
        tag = self.tags.general
        reply = parse_reply(tag + plain, self.tags)
        trace = Trace(reply.reasoning.strip(), reply.answer.strip())
        if not (reply.is_complete and trace.reasoning and trace.answer):
            raise Unusable("no <answer> after the reasoning")
        again = parse_reply(write_reply(trace, tag), self.tags)
        if any(one.strip() in plain for one in self.tags) or again.answer != trace.answer:
            raise Unusable("a marker within the text")
        if len(trace.reasoning.split()) > PATIENCE * self.max_words:
            raise Unusable("too long")
        return trace

    def _keyed(self, text: str, question: Question) -> Trace:
        trace = self._read(text)
        if not matches(trace.answer, [question.answer], question.match):
            raise Unusable("contradicts the key")
        if _TOLD.search(trace.reasoning):
            raise Unusable("mentions the key")
        return Trace(trace.reasoning, question.answer)

    def _chosen(self, text: str) -> Trace:
        trace = self._read(text)
        letter = read_choice(trace.answer)
        if letter is None:
            raise Unusable("chooses no option")
        return Trace(trace.reasoning, letter)


def persona_wish(question: str) -> Wish[str]:
    """Who might ask this."""
    return Wish(_PERSONA.format(question=question), read_persona)


def read_persona(text: str) -> str:
    found = re.search(r"<persona>(.+?)</persona>", text.rpartition("</think>")[2], re.DOTALL)
    persona = tidy_persona(found[1]) if found else ""
    if not persona or "<" in persona:
        raise Unusable("no <persona>")
    if len(persona.split()) > MAX_PERSONA_WORDS:
        raise Unusable("too long")
    return persona
