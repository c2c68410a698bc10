"""Answers: one JSON line each, written as they come, so that a killed run goes on.

A record holds no persona text. `asked.json` beside it says what was asked; answers to other
questions are never mixed into one file.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import TypeAdapter, ValidationError

from model.errors import PersonaDualError
from model.mode import Isolation, Mode
from model.validation import describe
from training.evaluation.conditions import Shown
from training.evaluation.plan import Key, Plan
from training.items import DataInvalid, Kind

ANSWERS = "answers.jsonl"
ASKED = "asked.json"


class RunDiffers(PersonaDualError):
    """A folder holds the answers to other questions."""

    code = "run_differs"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint made of one request. A failed one has an `error`, and is wrong.

    `is_correct` reads exactly, `is_correct_lenient` leniently (training.evaluation.readings); both
    are None for a chat turn. `says_claim` and `says_claim_lenient`: whether it is what an injected
    persona claims, under the others by chance; None where nothing can be claimed.
    `probability` is that of personalised mode.
    """

    item: str
    kind: Kind
    topic: str
    is_hard: bool
    wanted: Mode
    condition: Shown
    isolation: Isolation
    forced: Mode | None
    seed: int
    answer: str
    mode: Mode | None
    probability: float | None
    source: str | None
    is_valid_format: bool
    is_correct: bool | None
    is_correct_lenient: bool | None
    latency_s: float
    tokens: int | None
    error: str | None = None
    entity: str = ""
    says_claim: bool | None = None
    says_claim_lenient: bool | None = None

    @property
    def key(self) -> Key:
        return (self.item, self.condition, self.isolation, self.forced, self.seed)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run asked, and of whom. `has_modes`: the endpoint lists the aliases of its modes."""

    url: str
    model: str
    suite: str
    suite_sha256: str
    limit: int | None
    has_modes: bool
    plan: Plan


_ANSWER = TypeAdapter(Answer)
_ASKED = TypeAdapter(Asked)


def read_answers(folder: Path) -> list[Answer]:
    """The answers of a run, in order; a half-written last line is left out.

    Raises:
        DataInvalid: there are none, or a line is no answer.
    """
    path = folder / ANSWERS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}") from error
    # Asked again after a failure, a question has two answers: the later one counts.
    answers: dict[Key, Answer] = {}
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            answer = _ANSWER.validate_json(line)
        except ValidationError as error:
            raise DataInvalid(f"{path}, line {number}: {describe(error)}") from error
        answers[answer.key] = answer
    return list(answers.values())


def read_asked(folder: Path) -> Asked:
    """What a run asked.

    Raises:
        DataInvalid: the folder holds no run.
    """
    path = folder / ASKED
    try:
        return _ASKED.validate_json(path.read_bytes())
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DataInvalid(f"{path}: {describe(error)}") from error


def pin(folder: Path, asked: Asked) -> None:
    """Write down what is asked, or see that it is what was asked here before.

    The address may be another one: a service that was started again may have another port.

    Raises:
        RunDiffers: it is not.
        DataInvalid: the folder cannot be written to.
    """
    text = json.dumps(asdict(asked), indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ASKED).exists() and not (folder / ANSWERS).exists():
            (folder / ASKED).write_text(text, encoding="utf-8")
            return
    except FileExistsError as error:
        raise DataInvalid(f"{folder} is no folder; give --out another one") from error
    except OSError as error:
        raise DataInvalid(f"{folder} cannot be written: {error.strerror}") from error
    before, now = _flat(read_asked(folder)), _flat(asked)
    differing = [name for name in now if name != "url" and now[name] != before[name]]
    if differing:
        said = "; ".join(f"{name} was {before[name]}, is {now[name]}" for name in differing)
        raise RunDiffers(f"{folder} holds another run ({said}); give --out another folder")


@contextmanager
def writing(folder: Path) -> Iterator[TextIO]:
    """The answers' file, to be added to; what a killed run left half-written is cut off.

    Raises:
        RunDiffers: another process is writing there.
        DataInvalid: the file cannot be opened.
    """
    path = folder / ANSWERS
    file = _opened(path)
    try:
        _lock(file, path)
        whole = path.read_bytes()
        file.truncate(whole.rfind(b"\n") + 1)
        yield file
    finally:
        # Each answer is flushed. One that could not be has been told of, and is tried once more.
        with suppress(OSError):
            file.close()


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DataInvalid(f"{path} cannot be written: {error.strerror}") from error


def _lock(file: TextIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunDiffers(f"another process is writing to {path}") from error


def write_answer(file: TextIO, answer: Answer) -> None:
    """Add an answer, whole or not at all for who reads it.

    Raises:
        DataInvalid: it cannot be written.
    """
    file.write(json.dumps(asdict(answer), ensure_ascii=False, allow_nan=False) + "\n")
    try:
        file.flush()
    except OSError as error:
        raise DataInvalid(
            f"{file.name} cannot be written: {error.strerror}; what was answered before is kept,"
            " and the same command goes on"
        ) from error


def without_failed(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.error is None]


def _flat(asked: Asked) -> dict[str, Any]:
    fields = asdict(asked)
    plan = fields.pop("plan")
    shown = {name: list(map(str, v)) if isinstance(v, tuple) else v for name, v in plan.items()}
    return {**fields, **shown}
