"""Sources: the rows of each data set, read into questions that can be checked.

What is no question for us (an essay to write, an answer that no rule can compare, a field that is
null) is skipped with a reason and counted; a row without a field that its format has is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from model.reading import read_number
from training.data.overlap import normalise
from training.data.recipe import Rows, Source
from training.data.records import NoText, Record, read
from training.items import Kind
from training.rewards import Match, matches

MAX_ANSWER_WORDS = 8
"""A longer answer in words is equal to no other by chance."""
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its key. `entity` is what it is about: both splits share none.

    `persona` comes with sources whose answer follows from one; else the teacher writes it.
    """

    id: str
    source: str
    task: str
    entity: str
    kind: Kind
    text: str
    answer: str
    match: Match
    persona: str | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a row is not used."""

    reason: Literal[
        "task excluded",
        "no answer to check",
        "answer is no option",
        "too many options",
        "no persona",
        "persona too long",
        "nothing to choose",
        "no text",
    ]


def digest(*parts: str | int) -> str:
    """16 hex digits that stand for these parts, the same on every machine."""
    text = "\x1f".join(map(str, parts))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def questions(source: Source) -> Iterator[Question | Skip]:
    """Every row of a source.

    Raises:
        DataInvalid: a row cannot be read; it names file, line and field.
    """
    adapt = _ADAPTERS[source.kind]
    for record in read(source):
        try:
            found = adapt(record, source)
        except NoText:
            found = Skip("no text")
        yield found if isinstance(found, Skip) else _checked(found, source)


def personas(rows: Rows, dropped: Counter[tuple[str, str]] | None = None) -> list[str]:
    """PersonaHub: `persona.jsonl`, one `{"persona": text}` per line; those without are counted.

    Format seen: file list of proj-persona/PersonaHub, and the field as the paper's own scripts read
    it (XiaoyouLiu/personadual, train-dataprocess/rl/data.py).
    """
    found: dict[str, None] = {}
    for record in read(rows):
        try:
            persona = tidy_persona(record.text("persona"))
        except NoText:
            persona = ""
        if persona:
            found[persona] = None
        elif dropped is not None:
            dropped["personas", "no text"] += 1
    return list(found)


_OPENING = re.compile(r"^\s*(?:I\s+am|I[\u0027\u2019]m)\s+", re.IGNORECASE)


def tidy_persona(text: str) -> str:
    """A persona as it stands behind "I am": on one line, without that beginning or a last stop.

    Its first word begins small, unless it is a name or an abbreviation for all we can tell.
    """
    plain = " ".join(_OPENING.sub("", text).split()).removesuffix(".")
    is_article = plain.split(" ", 1)[0] in ("A", "An", "The", "Someone")
    return plain[:1].lower() + plain[1:] if is_article else plain


def _checked(question: Question, source: Source) -> Question | Skip:
    task = question.task.casefold()
    if task.startswith(tuple(name.casefold() for name in source.exclude_tasks)):
        return Skip("task excluded")
    if source.tasks and not task.startswith(tuple(name.casefold() for name in source.tasks)):
        return Skip("task excluded")
    try:
        is_readable = matches(question.answer, [question.answer], question.match)
    except ValueError:
        is_readable = False
    return question if is_readable else Skip("no answer to check")


def _question(
    source: Source,
    text: str,
    answer: str,
    match: Match,
    task: str,
    *,
    about: str | None = None,
    persona: str | None = None,
) -> Question:
    kind = Kind.OBJECTIVE if persona is None else Kind.PERSONALIZED
    return Question(
        id=f"{source.title}-{digest(text, answer, persona or '')}",
        source=source.title,
        task=task,
        entity=digest(normalise(about or text)),
        kind=kind,
        text=text.strip(),
        answer=answer,
        match=match,
        persona=persona,
    )


def _ultramedical(record: Record, source: Source) -> Question | Skip:
    """`id` ("TextBookQA,Anatomy_Gray_28"), `conversations` (a list of `{from, value}`, the human's
    first, with the options), `answer` (a letter, or text where nothing is chosen), `score`.

    Format seen: README of TsinghuaC3I/UltraMedical on GitHub, its example; field list on the Hub.
    `type` is not read: "mc" in that example, but "Exam" or "Open-End" in rows.
    """
    task = record.text("id").split(",", 1)[0]
    turns = record.value("conversations")
    if turns is None or (isinstance(turns, list) and turns[:1] == [None]):
        return Skip("no text")
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], dict):
        raise record.wrong("conversations", "must begin with a turn that has a text in value")
    text = Record(f"{record.place}: conversations", turns[0]).text("value")
    letter = record.text("answer").strip()
    if not re.fullmatch("[A-J]", letter):
        return Skip("no answer to check")
    if not _lists(text, letter):
        return Skip("answer is no option")
    return _question(source, text, letter, "mcq", task)


_OPTION = re.compile(r"(?:^|\s)\(?([A-J])[.):]", re.MULTILINE)


def _lists(text: str, letter: str) -> bool:
    """Whether a text lists options A to this letter, and two at least: "A." alone may be a word's
    or a sentence's end."""
    return set(_OPTION.findall(text)).issuperset(LETTERS[: max(2, LETTERS.index(letter) + 1)])


_OPTIONS = re.compile(r"OPTIONS:[ \t]*\n((?:-[ \t]*[^\n]+(?:\n|\Z))+)")
_LETTERED = re.compile(r"(?:^|\s)\(([A-J])\)")


def _flan(record: Record, source: Source) -> Question | Skip:
    """`inputs`, `targets`, and the task's name in `task` (Muennighoff/flan) or `_task_name`
    (Open-Orca/FLAN). Dashed options below "OPTIONS:" get letters, and the answer is one.

    Format seen: `inputs` and `targets` in litgpt's loader of Muennighoff/flan; the other fields in
    the Hub's field list of a data set made from Open-Orca/FLAN; dashed options in the FLAN paper.
    `task` as the paper's scripts use it; not seen in a row of Muennighoff/flan itself.
    """
    text, target = record.text("inputs"), record.text("targets").strip()
    named = "task" if "task" in record.fields else "_task_name"
    task = record.text(named)
    options = _OPTIONS.search(text)
    if options is not None:
        told = [line.removeprefix("-").strip() for line in options[1].strip().splitlines()]
        if len(told) > len(LETTERS):
            return Skip("too many options")
        if told.count(target) != 1:
            return Skip("answer is no option")
        listed = "\n".join(f"{letter}. {one}" for letter, one in zip(LETTERS, told, strict=False))
        text = f"{text[: options.start()]}OPTIONS:\n{listed}\n{text[options.end() :]}"
        return _question(source, text, LETTERS[told.index(target)], "mcq", task)
    lettered = re.fullmatch(r"\(?([A-J])\)?\.?", target)
    if lettered and lettered[1] in _LETTERED.findall(text):
        return _question(source, text, lettered[1], "mcq", task)
    if read_number(target) is not None:
        return _question(source, text, target, "number", task)
    if not 0 < len(target.split()) <= MAX_ANSWER_WORDS:
        return Skip("no answer to check")
    return _question(source, text, target, "text", task)


def _megascience(record: Record, source: Source) -> Question | Skip:
    """`question`, `answer` (a worked solution, not used), `subject`, `reference_answer`, `source`.

    Format seen: field list of MegaScience/MegaScience on the Hub. `subject` is the task.
    """
    answer = record.text("reference_answer").strip()
    if not 0 < len(answer.split()) <= MAX_ANSWER_WORDS:
        return Skip("no answer to check")
    is_mathematical = re.search(r"[\\$=^\d]", answer) is not None
    match: Match = "math" if is_mathematical else "text"
    return _question(source, record.text("question"), answer, match, record.text("subject"))


def _alignx(record: Record, source: Source) -> Question | Skip:
    """`prompt` (a post), `chosen`, `rejected`, and the user in "Demographic Information"; further
    fields (preference directions, earlier comments and choices) are not used.

    Format seen: README of JinaLeejnl/AlignX. How the paper words the choice is not known; the two
    replies stand as A and B in an order drawn from their texts.
    """
    post, chosen, rejected = (record.text(name) for name in ("prompt", "chosen", "rejected"))
    told = record.value("Demographic Information") or ""
    if not isinstance(told, str):
        raise record.wrong("Demographic Information", "must be text")
    if not told.strip():
        return Skip("no persona")
    if normalise(chosen) == normalise(rejected):
        return Skip("nothing to choose")
    text, answer = between(post, chosen, rejected)
    return _question(source, text, answer, "mcq", "post", about=post, persona=tidy_persona(told))


def between(post: str, chosen: str, rejected: str) -> tuple[str, str]:
    """The question which of two replies suits the user better, and the letter of the chosen one;
    which of them stands first is drawn from their texts."""
    is_first = int(digest(post, chosen, rejected), 16) % 2 == 0
    first, second = (chosen, rejected) if is_first else (rejected, chosen)
    text = (
        f"{post.strip()}\n\nWhich of these two replies suits me better?\n"
        f"A. {first.strip()}\nB. {second.strip()}"
    )
    return text, "A" if is_first else "B"


_ADAPTERS: dict[str, Callable[[Record, Source], Question | Skip]] = {
    "alignx": _alignx,
    "ultramedical": _ultramedical,
    "flan": _flan,
    "megascience": _megascience,
}
