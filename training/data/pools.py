"""Pools: the questions drawn from each source, kept beside the journal once they are drawn.

Reading a large source may take hours. A build that is called again reads no source whose pool is
there: `pool-1.jsonl` is that of the first source with a quota, and so on. Its first line is
`{"key", "dropped"}`, each further one a question. The key stands for all that the draw depends on:
seed, test sets, this source and those before it (a question that they have is left out), local
files by size and time of change, and our version. A data set by name is taken as it was drawn. Like
the journal they hold personas: they are data.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from training.data.overlap import KeptOut, load_test_questions, normalise
from training.data.recipe import Recipe, Rows, Source
from training.data.sample import draw
from training.data.sources import Question, Skip, digest, questions
from training.items import DataInvalid

SHOWN_EVERY = 1000
"""Rows from one word of progress to the next."""
QUOTAS = {"sft_general", "sft_personalized", "rl"}

Dropped = Counter[tuple[str, str]]
Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Head:
    key: str
    dropped: list[tuple[str, str, int]]


_HEAD, _QUESTION = TypeAdapter(_Head), TypeAdapter(Question)


def read_pools(recipe: Recipe, dropped: Dropped, show: Show) -> list[list[Question]]:
    """The pools in the order of the recipe's sources; one without a quota has none.

    `dropped` counts what was left out, also where that was in an earlier run.

    Raises:
        DataInvalid: a row cannot be read, a source has fewer questions than its quotas, or a pool
            cannot be written.
    """
    key = digest(version("personadual"), recipe.seed, *map(_told, recipe.test_sets))
    pools: list[list[Question]] = []
    seen: set[str] = set()
    tests: tuple[KeptOut, Dropped] | None = None
    number = 0
    for source in recipe.sources:
        if not source.quota:
            pools.append([])  # not worth a download
            continue
        number += 1
        key = digest(key, _told(source), source.quota)
        path = recipe.out / f"pool-{number}.jsonl"
        kept = _load(path, key)
        if kept is None:
            tests = tests or _tests(recipe, show)
            kept = _drawn(source, tests, seen, recipe.seed, show)
            _save(path, key, *kept)
        else:
            seen.update(normalise(question.text) for question in kept[0])
        pools.append(kept[0])
        # Counts of the test sets are in each pool's, and the same.
        dropped |= kept[1]
    return pools


def _tests(recipe: Recipe, show: Show) -> tuple[KeptOut, Dropped]:
    show("test sets")
    dropped: Dropped = Counter()
    return load_test_questions(recipe.test_sets, dropped), dropped


def _drawn(
    source: Source, tests: tuple[KeptOut, Dropped], seen: set[str], seed: int, show: Show
) -> tuple[list[Question], Dropped]:
    kept_out, dropped = tests[0], tests[1].copy()
    found = _shown(questions(source), source.title, show)
    pool = draw(found, source, kept_out, seen, seed, dropped)
    if len(pool) < source.quota:
        left_out = [
            f"; {count} x {reason}"
            for (title, reason), count in sorted(dropped.items())
            if title == source.title
        ]
        raise DataInvalid(
            f"source {source.title} has {len(pool)} usable questions,"
            f" but its quotas ask for {source.quota}{''.join(left_out)}"
        )
    return pool, dropped


def _shown(found: Iterable[Question | Skip], title: str, show: Show) -> Iterator[Question | Skip]:
    show(title)
    for count, one in enumerate(found, start=1):
        if count % SHOWN_EVERY == 0:
            show(f"{title}: {count} rows")
        yield one


def _told(rows: Rows) -> str:
    """What is read from where, as text; a local file that changes tells another one."""
    told: dict[str, Any] = rows.model_dump(mode="json", exclude=QUOTAS)
    told["found"] = []
    for path in rows.paths():
        try:
            status = path.stat()
        except OSError as error:
            raise DataInvalid(f"{path} cannot be read: {error.strerror or error}") from error
        told["found"].append([str(path), status.st_size, status.st_mtime_ns])
    return json.dumps(told, sort_keys=True)


def _load(path: Path, key: str) -> tuple[list[Question], Dropped] | None:
    """A pool and what was dropped for it; nothing if it is not there, or another one."""
    try:
        with path.open("rb") as lines:
            head = _HEAD.validate_json(next(lines, b""))
            if head.key != key:
                return None
            pool = [_QUESTION.validate_json(line) for line in lines]
    except FileNotFoundError:
        return None
    except ValidationError:
        return None  # not written by us, or by another version
    except OSError as error:
        raise DataInvalid(f"{path} cannot be read: {error.strerror or error}") from error
    return pool, Counter({(title, reason): count for title, reason, count in head.dropped})


def _save(path: Path, key: str, pool: list[Question], dropped: Dropped) -> None:
    """Whole or not at all."""
    head = _Head(key, [(title, reason, count) for (title, reason), count in dropped.items()])
    work = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with work.open("wb") as file:
            file.write(_HEAD.dump_json(head) + b"\n")
            file.writelines(_QUESTION.dump_json(question) + b"\n" for question in pool)
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except OSError as error:
        raise DataInvalid(f"{path} cannot be written: {error.strerror or error}") from error
