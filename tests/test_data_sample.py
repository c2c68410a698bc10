"""What is drawn from a source: a sample that overlaps with no test set."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.paper_sources import write_sources
from training.data.overlap import KeptOut, normalise
from training.data.recipe import Source
from training.data.sample import LEAST, SPARE, draw, rank
from training.data.sources import Question, Skip, questions
from training.items import Kind


def test_overlap() -> None:
    long = "which of the following statements about the heart of a resting adult human is true"
    kept_out = KeptOut([long, "Who wrote the novel about the white whale?", "Why?", "  "])
    assert kept_out.overlaps(f"Please answer: {long.upper()}!! A. one B. two")
    assert kept_out.overlaps(long.removeprefix("which "))
    assert not kept_out.overlaps(" ".join(reversed(long.split())))
    assert kept_out.overlaps("Q: who wrote the novel about the white whale\nA:")
    assert not kept_out.overlaps("Who wrote the novel about the grey whale?")
    assert kept_out.overlaps("why")
    assert not kept_out.overlaps("Why me?")
    assert not kept_out.overlaps("")
    assert not KeptOut([]).overlaps("anything")
    assert normalise("\uff21\uff22 c-D") == "ab c d"


@pytest.mark.parametrize(
    ("test", "asked", "is_found"),
    [
        ("Who wrote the novel Dracula?", "Q: Who wrote the novel Dracula? A:", True),
        ("Who wrote Dracula?", "Question: who wrote Dracula?\nAnswer:", True),
        ("Question: Who wrote Dracula?", "Who wrote Dracula?", True),
        ("Who wrote Dracula?", "Tell me, who wrote Dracula?", False),
        ("Who wrote the Iliad?", "Tell me, who wrote the Iliad?", True),
        ("Who wrote the Iliad?", "Who wrote the Odyssey and the Iliad?", False),
        ("光合作用发生在哪里", "请回答。光合作用发生在哪里谢谢", True),
        ("光合作用发生在哪里", "请回答。呼吸作用发生在哪里谢谢", False),
        ("日本の首都は東京ですか", "質問。日本の首都は東京ですか。", True),
        ("เมืองหลวงของไทยคือ", "ถาม เมืองหลวงของไทยคืออะไร", True),
    ],
)
def test_overlap_of_short_questions(test: str, asked: str, is_found: bool) -> None:
    assert KeptOut([test]).overlaps(asked) is is_found


def test_a_sample_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    write_sources(tmp_path, 40)
    source = Source(kind="ultramedical", files=(tmp_path / "ultramedical.parquet",), rl=10)
    found = list(questions(source))

    def sample(seed: int, rows: list[Question | Skip]) -> list[str]:
        pool = draw(rows, source, KeptOut([]), set(), seed, Counter())
        return [question.id for question in pool]

    mixed = random.Random(0).sample(found, len(found))
    assert sample(1, found) == sample(1, mixed)
    assert sample(1, found) != sample(2, found)


def ask(number: int, task: str) -> Question:
    text = f"question number {number} has these words"
    return Question(f"s-{number}", "s", task, str(number), Kind.OBJECTIVE, text, "A", "mcq")


def test_a_sample_leaves_out_overlaps_and_duplicates_and_spreads_over_tasks() -> None:
    source = Source.model_validate(
        {"kind": "flan", "name": "s", "files": ["x"], "rl": 8, "spread": "even"}
    )
    rows: list[Question | Skip] = [ask(number, "large") for number in range(100)]
    rows += [ask(number, "small") for number in range(100, 110)]
    dropped: Counter[tuple[str, str]] = Counter()
    seen = {normalise("Question number 7 has these words")}
    tests = KeptOut(["question number 5 has these words"])
    pool = draw([*rows, Skip("no persona")], source, tests, seen, 1, dropped)
    assert dropped == {
        ("s", "overlaps with a test set"): 1,
        ("s", "duplicate"): 1,
        ("s", "no persona"): 1,
    }
    assert not {"s-5", "s-7"} & {question.id for question in pool}
    assert len(pool) == 108
    first = Counter(question.task for question in pool[:16])
    assert abs(first["large"] - first["small"]) <= 2


@pytest.mark.parametrize("tasks", [1, 7, 60, 2000])
def test_a_sample_over_many_tasks_is_the_beginning_of_the_whole_order(tasks: int) -> None:
    """The order is written out here: by turns of the tasks, each by its ranks. Of it no more is
    held than can be needed, wherever a row stands and however often."""
    source = Source.model_validate(
        {"kind": "flan", "name": "s", "files": ["x"], "rl": 8, "spread": "even"}
    )
    size = SPARE * 8 + LEAST
    draws = random.Random(tasks)
    # Tasks of very different sizes.
    found = [ask(number, f"t{int(tasks * draws.random() ** 3)}") for number in range(3000)]
    by_task: dict[str, list[Question]] = {}
    for one in sorted(found, key=lambda one: rank(1, "draw", one.id)):
        by_task.setdefault(one.task, []).append(one)
    turns = [(n, task) for task, those in by_task.items() for n in range(len(those))]
    wanted = [by_task[task][n].id for n, task in sorted(turns)]
    twice = [*found, *draws.sample(found, 1000)]
    draws.shuffle(twice)
    pool = draw(twice, source, KeptOut([]), set(), 1, Counter())
    assert [one.id for one in pool] == wanted[:size]
