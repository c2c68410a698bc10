"""Rewards: is the reply well formed, and is its answer right.

The reply is parsed by the gateway's own parser, so what earns a reward is what is served. Answers
are compared by their kind. What hedges (two letters, two numbers) is wrong: a policy under
training finds every leniency.

Nothing in a reply raises. An accepted answer that cannot be read is an error in the data, and
raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from model.maths import Formula, is_answered, read_math
from model.mode import Mode, Tags
from model.reading import is_equal, read_choice, read_number, read_text
from model.reply import parse_reply

Match = Literal["mcq", "text", "number", "math", "mention"]
"""How an answer is compared with the accepted ones."""
_Read = str | Fraction | Formula
WEIGHTS = {"answer": 0.9, "format": 0.1}
"""What a right answer and a valid format earn; the paper's."""
MAX_REPLY_CHARACTERS = 100_000
"""A reply is cut here before it is parsed; no trained reply comes near."""
MAX_ANSWER_CHARACTERS = 10_000
"""A longer answer is wrong, unread."""
MAX_MENTION_WORDS = 12
"""A longer answer mentions nothing: it could name everything."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judged reply. A malformed one may still be correct, if its answer can be told."""

    mode: Mode | None
    is_valid_format: bool
    is_correct: bool


def judge(text: str, answer: str | Sequence[str], match: Match, tags: Tags | None = None) -> Judged:
    """Judge a whole reply, tag included, against one or several accepted answers.

    The format is valid if the reply holds tag, `<answer>`, a visible answer and `</answer>`. What
    follows `</answer>` is no part of a reply.

    Raises:
        ValueError: unknown match, no accepted answer, or one that is none of its kind.
    """
    if match not in _READERS:
        raise ValueError(f"match must be one of {', '.join(_READERS)}")
    accepted = [answer] if isinstance(answer, str) else list(answer)
    if not accepted:
        raise ValueError("there is no accepted answer")
    reply = parse_reply(text[:MAX_REPLY_CHARACTERS], tags)
    given = reply.answer.strip()
    return Judged(
        mode=reply.mode,
        is_valid_format=reply.is_complete and bool(given),
        is_correct=matches(given, accepted, match),
    )


def matches(given: str, accepted: Sequence[str], match: Match) -> bool:
    """Whether an answer equals one of the accepted ones, all of that kind; by `mention`, holds it.

    Raises:
        ValueError: an accepted answer is none of its kind.
    """
    read = _READERS[match]
    wanted = [read(one) for one in accepted]
    if None in wanted:
        raise ValueError(
            f"an accepted answer cannot be read as {match}: {accepted[wanted.index(None)][:80]!r}"
        )
    found = read(given) if given and len(given) <= MAX_ANSWER_CHARACTERS else None
    if match == "mention" and isinstance(found, str):
        is_short = len(found.split()) <= MAX_MENTION_WORDS
        return is_short and any(f" {one} " in f" {found} " for one in wanted)
    return found is not None and any(_is_same(found, one) for one in wanted)


def _is_same(found: _Read, wanted: _Read | None) -> bool:
    if isinstance(found, Formula):
        return isinstance(wanted, Formula) and is_answered(wanted, found)
    return not isinstance(wanted, Formula) and is_equal(found, wanted)


_READERS: dict[str, Callable[[str], _Read | None]] = {
    "mcq": read_choice,
    "text": read_text,
    "number": read_number,
    "math": read_math,
    "mention": read_text,
}
