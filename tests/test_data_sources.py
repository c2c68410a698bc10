"""Each source's real format, read into questions; what overlaps; how a sample is drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from tests.paper_sources import alignx, flan, megascience, ultramedical, write_jsonl
from training.data.ledger import Ledger
from training.data.overlap import load_test_questions
from training.data.recipe import Rows, Source
from training.data.recipe import TestSet as Kept
from training.data.sources import Question, Skip, personas, questions, tidy_persona
from training.items import DataInvalid, Kind
from training.rewards import matches


def read(tmp_path: Path, kind: str, *rows: dict[str, Any], **options: Any) -> list[Question | Skip]:
    path = tmp_path / f"{kind}.jsonl"
    write_jsonl(path, list(rows))
    return list(questions(Source.model_validate({"kind": kind, "files": [path], **options})))


def one(tmp_path: Path, kind: str, row: dict[str, Any]) -> Question:
    (found,) = read(tmp_path, kind, row)
    assert isinstance(found, Question)
    assert matches(found.answer, [found.answer], found.match)
    return found


def test_ultramedical(tmp_path: Path) -> None:
    found = one(tmp_path, "ultramedical", ultramedical(7))
    assert (found.task, found.answer, found.match) == ("TextBookQA", "B", "mcq")
    assert found.text.startswith("A patient of 7 years")
    assert "So, B." not in found.text
    assert found.kind is Kind.OBJECTIVE
    told = read(
        tmp_path,
        "ultramedical",
        ultramedical(1, type="Open-End", answer="Watch the kidneys."),
        ultramedical(2, answer="B or C"),
        ultramedical(3, id="PubMedQA,12"),
        ultramedical(4, answer="E"),
        ultramedical(5, conversations=turn("Is it vitamin A. or B, and why?")),
        exclude_tasks=["pubmedqa"],
    )
    assert told == [
        Skip("no answer to check"),
        Skip("no answer to check"),
        Skip("task excluded"),
        Skip("answer is no option"),
        Skip("answer is no option"),
    ]


@pytest.mark.parametrize("type", ["mc", "Exam", None])
@pytest.mark.parametrize(
    "options", ["A. Hearing\nB. Sight", "Options: (A) hearing (B) sight", "A:hearing\nB:sight"]
)
def test_ultramedical_by_any_name_of_its_type(
    tmp_path: Path, type: str | None, options: str
) -> None:
    """Its README's example says "mc", its rows say "Exam" or "Open-End"."""
    row = ultramedical(7, type=type, conversations=turn(f"What is lost first?\n{options}"))
    assert one(tmp_path, "ultramedical", row).answer == "B"
    del row["type"]
    assert one(tmp_path, "ultramedical", row).answer == "B"


def turn(text: str | None) -> list[dict[str, str | None]]:
    return [{"value": text, "from": "human"}]


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("ultramedical", ultramedical(1, answer=None)),
        ("ultramedical", ultramedical(1, conversations=None)),
        ("ultramedical", ultramedical(1, conversations=[None])),
        ("ultramedical", ultramedical(1, conversations=turn(None))),
        ("flan", flan(1, targets=None)),
        ("flan", flan(1, task=None)),
        ("megascience", megascience(1, reference_answer=None)),
        ("alignx", alignx(1, prompt=None)),
        ("alignx", alignx(1, rejected=None)),
    ],
)
def test_a_row_with_a_null_is_skipped(tmp_path: Path, kind: str, row: dict[str, Any]) -> None:
    assert read(tmp_path, kind, row) == [Skip("no text")]


def test_nulls_of_personas_and_test_sets_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"persona": None}, {"persona": "A baker."}, {"persona": " "}]
    write_jsonl(tmp_path / "persona.jsonl", rows)
    dropped: Counter[tuple[str, str]] = Counter()
    assert personas(Rows(files=(tmp_path / "persona.jsonl",)), dropped) == ["a baker"]
    write_jsonl(tmp_path / "test.jsonl", [{"question": None}, {"question": "Who is it?"}])
    kept_out = load_test_questions([Kept(name="t", files=(tmp_path / "test.jsonl",))], dropped)
    assert len(kept_out) == 1
    assert dropped == {("personas", "no text"): 2, ("test set t", "no text"): 1}
    assert [line[0] for line in Ledger(dropped=dropped).lines()] == ["personas", "test set t"]


@pytest.mark.parametrize("end", ["json", "jsonl"])
def test_half_a_surrogate_pair_is_replaced(tmp_path: Path, end: str) -> None:
    row = flan(2, inputs="Who \ud83d wrote \U0001f600?", extra=[{"\udfff": 1}])
    text = json.dumps(row)
    assert "\\ud83d" in text
    path = tmp_path / f"flan.{end}"
    path.write_text(f"[{text}]" if end == "json" else text, encoding="utf-8")
    (found,) = questions(Source(kind="flan", files=(path,)))
    assert isinstance(found, Question)
    assert found.text == "Who \ufffd wrote \U0001f600?"


def test_parquet_with_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    path = tmp_path / "persona.parquet"
    texts = pyarrow.array([b"a baker", b"a \xed\xa0\xbd cook"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"persona": texts}), path)
    with pytest.raises(DataInvalid, match=r"persona.parquet: holds text that is not UTF-8"):
        personas(Rows(files=(path,)))


def test_flan(tmp_path: Path) -> None:
    dashed = one(tmp_path, "flan", flan(3))
    assert (dashed.answer, dashed.match) == ("B", "mcq")
    assert dashed.text.endswith("OPTIONS:\nA. a feather\nB. a stone")
    number = one(tmp_path, "flan", flan(4))
    assert (number.answer, number.match) == ("8", "number")
    text = one(tmp_path, "flan", flan(2))
    assert (text.answer, text.match) == ("Writer Number2", "text")
    orca = {"inputs": "Is it so? OPTIONS: (A) yes (B) no", "targets": "(B)", "_task_name": "cot"}
    assert (one(tmp_path, "flan", orca).answer, one(tmp_path, "flan", orca).task) == ("B", "cot")
    options = "".join(f"- option {n}\n" for n in range(11))
    told = read(
        tmp_path,
        "flan",
        flan(3, targets="a brick"),
        flan(3, inputs=f"Which?\nOPTIONS:\n{options}", targets="option 3"),
        flan(2, targets="once upon a time there was a king who had no crown"),
        flan(2, targets=" "),
        flan(2, task="trivia_qa_10templates"),
        exclude_tasks=["trivia_qa"],
    )
    assert [skip.reason for skip in told if isinstance(skip, Skip)] == [
        "answer is no option",
        "too many options",
        "no answer to check",
        "no answer to check",
        "task excluded",
    ]


def test_megascience(tmp_path: Path) -> None:
    found = one(tmp_path, "megascience", megascience(4))
    assert (found.answer, found.match, found.task) == (r"\boxed{8}", "math", "physics")
    worded = one(tmp_path, "megascience", megascience(4, reference_answer="Newton"))
    assert worded.match == "text"
    (skip,) = read(tmp_path, "megascience", megascience(4, reference_answer="it depends " * 9))
    assert skip == Skip("no answer to check")


def test_alignx(tmp_path: Path) -> None:
    found = [one(tmp_path, "alignx", alignx(number)) for number in range(1, 21)]
    for number, question in enumerate(found, start=1):
        assert f"\n{question.answer}. Go climbing with group {number}." in question.text
        assert question.persona == f"a climber who trains {number} times a month"
        assert question.kind is Kind.PERSONALIZED
    assert {question.answer for question in found} == {"A", "B"}
    bare = alignx(1, **{"Demographic Information": None})
    same = alignx(1, chosen="Stay in and read book 1")
    assert read(tmp_path, "alignx", bare, same) == [Skip("no persona"), Skip("nothing to choose")]
    # The same post with other replies is about the same thing: both splits must not have it.
    other = one(tmp_path, "alignx", alignx(1, chosen="Sleep."))
    assert other.entity == found[0].entity
    assert other.id != found[0].id


def test_personahub_and_how_a_persona_is_tidied(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "persona.jsonl", [{"persona": "A baker."}, {"persona": "I'm a baker"}])
    assert personas(Rows(files=(tmp_path / "persona.jsonl",))) == ["a baker"]
    assert tidy_persona("I am Ada,\n a nurse.") == "Ada, a nurse"
    assert tidy_persona("Iambic poet") == "Iambic poet"


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("ultramedical", ultramedical(1, conversations=[]), "conversations: must begin"),
        ("ultramedical", ultramedical(1, answer=4), "answer: must be text"),
        ("ultramedical", ultramedical(1, conversations=[{}]), "conversations: value: is missing"),
        ("flan", {"inputs": "a", "targets": "b"}, "_task_name: is missing"),
        ("flan", flan(1, targets=4), "targets: must be text"),
        ("megascience", {"question": "a", "subject": "b"}, "reference_answer: is missing"),
        ("alignx", {"prompt": "a", "chosen": "b"}, "rejected: is missing"),
        ("alignx", alignx(1, **{"Demographic Information": 4}), "Demographic Information: must"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(
    tmp_path: Path, kind: str, row: dict[str, Any], said: str
) -> None:
    good = {"ultramedical": ultramedical, "flan": flan, "megascience": megascience}
    first = good.get(kind, alignx)(9)
    with pytest.raises(DataInvalid) as refused:
        read(tmp_path, kind, first, row)
    assert f"{kind}.jsonl, line 2: " in refused.value.message
    assert said in refused.value.message


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name, content, said in (
        ("a.jsonl", b'{"persona": "x"}\n{', "a.jsonl, line 2: is not JSON"),
        ("b.jsonl", b"[1]\n", "b.jsonl, line 1: must be an object"),
        ("c.json", b'[\n{"persona": }]', "c.json, line 2: is not JSON"),
        ("d.json", b"{}", "d.json: must be a list"),
        ("e.parquet", b"PAR1 and nothing", "e.parquet: is not parquet"),
        ("f.csv", b"persona", "f.csv: name a .json, .jsonl or .parquet file"),
        ("g.jsonl", b'{"persona": "\xff"}', "g.jsonl is not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataInvalid, match=r"[a-g]\.\w+") as refused:
            personas(Rows(files=(tmp_path / name,)))
        assert said in refused.value.message


def test_a_data_set_by_name_is_read_like_a_file(tmp_path: Path) -> None:
    """`datasets` takes a folder for a name, as it takes one of the Hub."""
    (tmp_path / "hub").mkdir()
    write_jsonl(tmp_path / "hub" / "persona.jsonl", [{"persona": "A baker."}])
    assert personas(Rows(datasets=str(tmp_path / "hub"))) == ["a baker"]
    with pytest.raises(DataInvalid, match="cannot be loaded"):
        personas(Rows(datasets=str(tmp_path / "hub"), split="nowhere"))
