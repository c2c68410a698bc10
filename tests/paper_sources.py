"""Small files in the formats of the paper's sources, and a recipe over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

ANSWER = "B"
"""The key of every multiple-choice question of UltraMedical here."""


def ultramedical(number: int, **fields: Any) -> dict[str, Any]:
    question = (
        f"A patient of {number} years takes drug number {number}. What should be watched?\n\n"
        "A. Hearing\nB. Kidney function\nC. Eyesight\nD. Nothing"
    )
    turns = [{"value": question, "from": "human"}, {"value": "So, B.", "from": "gpt"}]
    id = f"{('MedQA', 'TextBookQA')[number % 2]},{number}"
    row = {"id": id, "type": "mc", "conversations": turns, "answer": ANSWER, "score": "A 9."}
    return row | fields


def flan(number: int, **fields: Any) -> dict[str, Any]:
    task = ("arc_easy_10templates", "math_dataset_10templates", "natural_questions_10templates")
    inputs, targets = (
        (f"Which is heaviest in case {number}?\n\nOPTIONS:\n- a feather\n- a stone\n", "a stone"),
        (f"Calculate {number} + {number}.", str(2 * number)),
        (f"Q: who wrote volume number {number}? A:", f"Writer Number{number}"),
    )[number % 3]
    return {"inputs": inputs, "targets": targets, "task": task[number % 3]} | fields


def megascience(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "question": f"What is the momentum of a body of {number} kg at 2 m/s?",
        "answer": "Multiply both.",
        "subject": "physics",
        "reference_answer": rf"\boxed{{{2 * number}}}",
        "source": "textbook",
    }
    return row | fields


def alignx(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "prompt": f"Post {number}: how should I spend the evening?",
        "chosen": f"Go climbing with group {number}.",
        "rejected": f"Stay in and read book {number}.",
        "Preference Direction": [0.5] * 90,
        "Demographic Information": f"I am a climber who trains {number} times a month.",
        "User-Generated Content": [],
        "Pair-wise Comparative Feedback": [],
    }
    return row | fields


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_sources(folder: Path, count: int = 30) -> None:
    """`ultramedical.parquet`, `flan.jsonl`, `megascience.parquet`, `alignx.json`, `persona.jsonl`
    and `test.jsonl`, of `count` rows each."""
    numbers = range(1, count + 1)
    for name, make in (("ultramedical", ultramedical), ("megascience", megascience)):
        table = pyarrow.Table.from_pylist([make(number) for number in numbers])
        parquet.write_table(table, folder / f"{name}.parquet")
    write_jsonl(folder / "flan.jsonl", [flan(number) for number in numbers])
    rows = json.dumps([alignx(number) for number in numbers])
    (folder / "alignx.json").write_text(rows, encoding="utf-8")
    people = [{"persona": f"A keeper of {number} bees."} for number in numbers]
    write_jsonl(folder / "persona.jsonl", people)
    write_jsonl(folder / "test.jsonl", [{"question": "Nothing of this stands anywhere else"}])


def recipe(folder: Path, url: str, sources: str = "", teacher: str = "", top: str = "") -> Path:
    """Write a recipe over `write_sources`; `sources` replaces its sources."""
    path = folder / "recipe.toml"
    path.write_text(
        f"""
out = "{folder}/out"
validation = 0.2
{top}
personas = {{files = ["{folder}/persona.jsonl"]}}

[teacher]
url = "{url}"
model = "scripted"
retries = 1
timeout_s = 0.5
{teacher}

[[test_sets]]
name = "test"
files = ["{folder}/test.jsonl"]
{sources or all_sources(folder)}
""",
        encoding="utf-8",
    )
    return path


def source(folder: Path, file: str, quotas: str) -> str:
    kind = file.partition(".")[0]
    return f'\n[[sources]]\nkind = "{kind}"\nfiles = ["{folder}/{file}"]\n{quotas}\n'


def all_sources(folder: Path) -> str:
    return (
        source(folder, "ultramedical.parquet", "sft_general = 4\nsft_personalized = 4\nrl = 8")
        + source(folder, "flan.jsonl", "sft_general = 6\nsft_personalized = 3\nrl = 6")
        + source(folder, "megascience.parquet", "rl = 4")
        + source(folder, "alignx.json", "sft_personalized = 5\nrl = 3")
    )
