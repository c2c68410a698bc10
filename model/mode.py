"""Mode and tags: the two ways of answering, what is asked of them, and the text that opens each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """A way of answering: without the persona, or with it."""

    GENERAL = "general"
    PERSONALIZED = "personalized"


class ModeWish(StrEnum):
    """What may be asked of a mode: that one is taken, or that the model decides."""

    AUTO = "auto"
    GENERAL = "general"
    PERSONALIZED = "personalized"

    @property
    def forced(self) -> Mode | None:
        """The mode that is asked for; None where the model decides."""
        return None if self is ModeWish.AUTO else Mode(self)


class Isolation(StrEnum):
    """Whether an answer in general mode may have the persona in its context."""

    SHARED = "shared"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Tags:
    """The text that opens each mode (paper, section 3.1), line break included.

    Raises:
        ValueError: a tag is empty, or one opens the other, so that no reply could tell them apart.
    """

    general: str = "[General_mode]\n"
    personalized: str = "[Personalized_mode]\n"

    def __post_init__(self) -> None:
        visible = [self.general.strip(), self.personalized.strip()]
        if not all(visible):
            raise ValueError("a tag must hold visible text")
        if visible[0].startswith(visible[1]) or visible[1].startswith(visible[0]):
            raise ValueError("one tag must not be the beginning of the other")

    def __getitem__(self, mode: Mode) -> str:
        return self.general if mode is Mode.GENERAL else self.personalized

    def __iter__(self) -> Iterator[str]:
        return iter((self.general, self.personalized))

    def parted(self, text: str) -> Mode | None:
        """The one mode whose tag `text` opens, be it with half of it; None for both or none."""
        opened = [
            mode
            for mode in Mode
            if text and (self[mode].startswith(text) or text.startswith(self[mode]))
        ]
        return opened[0] if len(opened) == 1 else None


ANCHOR = "\n"
"""What a tag is read behind. Alone, SentencePiece would write a blank before it, which no reply has
that opens behind a prompt."""


def ids_behind(anchor: Sequence[int], whole: Sequence[int]) -> tuple[int, ...] | None:
    """The ids of a text, of those of the anchor and of both together; None where they fuse."""
    is_apart = tuple(whole[: len(anchor)]) == tuple(anchor)
    return tuple(whole[len(anchor) :]) if is_apart else None


@dataclass(frozen=True, slots=True)
class TagIds:
    """Both tags as vocabulary ids of one tokenizer, `[L]` each, as they stand behind a prompt.

    `parting` is the index of the first id in which they differ: the place of the decision.

    Raises:
        ValueError: a tag has no ids, or one is the beginning of the other.
    """

    general: tuple[int, ...]
    personalized: tuple[int, ...]
    parting: int = field(init=False)

    def __post_init__(self) -> None:
        for index in range(self.shortest):
            if self.general[index] != self.personalized[index]:
                object.__setattr__(self, "parting", index)
                return
        raise ValueError("the ids of one tag are the beginning of the other's")

    @classmethod
    def read(cls, encode: Callable[[str], Sequence[int]], tags: Tags) -> TagIds:
        """By a tokenizer, which adds no special tokens."""
        anchor = encode(ANCHOR)

        def ids(tag: str) -> tuple[int, ...]:
            return ids_behind(anchor, encode(ANCHOR + tag)) or tuple(encode(tag))

        return cls(ids(tags.general), ids(tags.personalized))

    @property
    def shortest(self) -> int:
        return min(len(self.general), len(self.personalized))

    @property
    def longest(self) -> int:
        return max(len(self.general), len(self.personalized))

    def __getitem__(self, mode: Mode) -> tuple[int, ...]:
        return self.general if mode is Mode.GENERAL else self.personalized

    def rivals(self) -> tuple[int, int]:
        """The two ids at the parting index, general first: one of them is the decision."""
        return self.general[self.parting], self.personalized[self.parting]
