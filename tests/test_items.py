"""The Pocket set and the rows made of it."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from model.mode import Mode, Tags
from model.prompt import PromptForm
from model.reply import parse_reply
from training.items import (
    Condition,
    DataInvalid,
    Item,
    Kind,
    load_items,
    save_items,
    write_reply,
)
from training.pocket import chat, fact, interests, tastes, wordings
from training.pocket.make import CALIBRATION, HELD_OUT, REINFORCE, SEED, TRAIN, make
from training.pocket.side import Side
from training.rewards import matches
from training.rows import sft_rows

DATA = Path(__file__).parents[1] / "training" / "pocket" / "data"


@pytest.fixture(scope="module")
def sides() -> dict[Side, list[Item]]:
    return {side: load_items(DATA / f"{side.name.lower()}.jsonl") for side in Side}


@pytest.fixture(scope="module")
def train(sides: dict[Side, list[Item]]) -> list[Item]:
    return sides[Side.TRAIN]


@pytest.fixture(scope="module")
def reinforce(sides: dict[Side, list[Item]]) -> list[Item]:
    return sides[Side.REINFORCE]


@pytest.fixture(scope="module")
def held_out(sides: dict[Side, list[Item]]) -> list[Item]:
    return sides[Side.HELD_OUT]


def test_the_committed_set_is_what_the_makers_make(sides: dict[Side, list[Item]]) -> None:
    assert TRAIN + REINFORCE >= 6_000
    assert HELD_OUT >= 1_500
    counts = {
        Side.TRAIN: TRAIN,
        Side.REINFORCE: REINFORCE,
        Side.CALIBRATION: CALIBRATION,
        Side.HELD_OUT: HELD_OUT,
    }
    for side, count in counts.items():
        assert make(side, count) == sides[side]


def test_the_sides_share_no_entity_and_no_question(sides: dict[Side, list[Item]]) -> None:
    """Facts are apart by what they are about, personal questions by their wording alone too: none
    of another side stands before the options."""
    for one, other in itertools.combinations(sides.values(), 2):
        assert not {item.entity for item in one} & {item.entity for item in other}
        for kind in (Kind.OBJECTIVE, Kind.PERSONALIZED):
            asked, also = (
                {item.question.split("\n")[0] for item in side if item.kind is kind}
                for side in (one, other)
            )
            assert not asked & also


def test_the_sides_share_no_wording() -> None:
    lists = [
        fact.WORDS.personally,
        fact.WORDS.pulls,
        *fact.WORDS.asks.values(),
        *tastes.WORDS.asks.values(),
        *(taste.says for group in tastes.WORDS.tastes.values() for taste in group),
        *(t.asks for group in interests.WORDS.interests.values() for t in group.topics.values()),
        chat.WORDS.places,
        list(chat.WORDS.general),
        *(kind.turns for kind in chat.WORDS.me.values()),
    ]
    for wordings_of in lists:
        parts = [words for side in Side for words in side.words(wordings_of)]
        assert sorted(parts) == sorted(set(wordings_of))
        assert len(Side.TRAIN.words(wordings_of)) >= 3


def test_traces_are_short(sides: dict[Side, list[Item]], pocket: Path) -> None:
    """20 to 60 tokens of reasoning."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pocket)
    texts = {t.reasoning for items in sides.values() for it in items for t in it.traces.values()}
    lengths = [len(ids) for ids in tokenizer(sorted(texts))["input_ids"]]
    assert min(lengths) >= 20
    assert max(lengths) <= 60


def test_the_usual_choice_stands_anywhere(train: list[Item]) -> None:
    """Else general mode would learn a letter."""
    letters = Counter(
        item.traces[Mode.GENERAL].answer
        for item in train
        if item.kind is Kind.PERSONALIZED and item.match == "mcq"
    )
    assert set(letters) == set("ABCD")
    assert min(letters.values()) > 0.2 * letters.total()


def test_new_wordings_are_new(train: list[Item], reinforce: list[Item]) -> None:
    """No training question is asked so: its options, and what a fact is asked with, aside."""
    suite = load_items(DATA / "new_wordings.jsonl")
    assert suite == wordings.make(SEED)
    assert {(item.kind, item.topic) for item in suite} == {
        (kind, distance)
        for kind in (Kind.OBJECTIVE, Kind.PERSONALIZED)
        for distance in ("near", "far")
    }
    known = {item.question.split("\n")[0] for item in (*train, *reinforce)}
    assert not [item.question for item in suite if any(item.question in one for one in known)]


def test_a_persona_reads_well_and_its_attributes_are_what_it_tells(train: list[Item]) -> None:
    """Parity is measured over them: a persona that says nothing of an age has none."""
    told = Counter[str]()
    for item in train:
        for condition, text in item.personas.items():
            assert text == text.strip()
            assert "  " not in text
            for name, value in item.attributes[condition].items():
                assert str(value) in text
                told[name] += 1
    assert set(told) == {"age", "country", "gender", "occupation", "town"}
    assert min(told.values()) > 1_000


def test_every_item_has_what_it_needs(train: list[Item], held_out: list[Item]) -> None:
    for item in [*train, *held_out]:
        assert set(item.traces) == set(Mode)
        assert set(item.personas) == {Condition.ALIGNED, Condition.UNALIGNED}
        assert bool(item.answers) == (item.kind is not Kind.CHAT)
        if item.answers:
            answer = item.traces[item.mode].answer
            assert matches(answer, item.answers, item.match), (item.id, answer)
        if item.kind is Kind.OBJECTIVE:
            assert {trace.answer for trace in item.traces.values()} == set(item.answers)
        for trace in item.traces.values():
            reply = parse_reply(write_reply(trace, Tags()[item.mode]))
            assert (reply.reasoning, reply.answer) == (trace.reasoning, trace.answer)
            assert reply.is_complete
    kinds = Counter((item.kind, item.is_hard) for item in held_out)
    assert min(kinds.values()) >= 20


def test_a_forced_tag_is_given_and_not_trained(train: list[Item]) -> None:
    """Else the rows of the other mode would teach the wrong choice."""
    tags = Tags()
    rows = list(sft_rows(train[:200], PromptForm(), tags, seed=1, forced=0.5))
    own, forced = ([row for row in rows if bool(row.opening) == given] for given in (False, True))
    assert len(own) == 200
    assert 60 < len(forced) < 140
    for row, item in zip(own, train[:200], strict=True):
        alone = item.mode is Mode.PERSONALIZED and len(row.messages) == 1
        assert row.completion.startswith(tags.general if alone else tags[item.mode])
    for row in forced:
        assert row.opening in tags
        assert not any(row.completion.startswith(tag) for tag in tags)


def test_a_personal_question_is_answered_from_its_persona(
    train: list[Item], held_out: list[Item]
) -> None:
    """Most answers repeat a word that only the persona holds, and held-out words are new."""
    known, new = set[str](), set[str]()
    for side, words in ((train, known), (held_out, new)):
        for item in side:
            if item.match == "mention":
                assert item.answers[0] in item.personas[Condition.ALIGNED]
                assert item.answers[0] not in item.traces[Mode.GENERAL].answer
                words.add(item.answers[0])
    assert len(known) > 130
    assert len(new) > 50
    assert len(new - known) > 0.9 * len(new)


def test_a_personal_question_without_persona_is_a_general_one(train: list[Item]) -> None:
    personal = [item for item in train if item.mode is Mode.PERSONALIZED]
    tags = Tags()
    rows = list(sft_rows(personal, PromptForm(), tags, seed=1, forced=0))
    alone = [row for row in rows if len(row.messages) == 1]
    assert 0.07 * len(rows) < len(alone) < 0.13 * len(rows)
    assert all(row.completion.startswith(tags.general) for row in alone)
    assert all(row.completion.startswith(tags.personalized) for row in rows if row not in alone)


def test_a_personal_question_needs_no_general_trace(train: list[Item]) -> None:
    """The paper's data has one only where the teacher wrote one: such an item keeps its persona."""
    personal = [item for item in train if item.mode is Mode.PERSONALIZED][:200]
    lacking = [
        replace(item, traces={item.mode: item.traces[Mode.PERSONALIZED]}) for item in personal
    ]
    rows = list(sft_rows(lacking, PromptForm(), Tags(), seed=1, forced=0.5))
    assert len(rows) == 200
    assert all(len(row.messages) == 2 for row in rows)


def test_one_mode_alone(train: list[Item]) -> None:
    """As many rows as of both modes, every tag that of the one, always beside a persona."""
    tags = Tags()
    both = list(sft_rows(train, PromptForm(), tags, seed=1, forced=0.4))
    rows = list(
        sft_rows(train, PromptForm(), tags, seed=1, forced=0.4, only_mode=Mode.PERSONALIZED)
    )
    assert len(rows) == pytest.approx(len(both), rel=0.02)
    assert not any(row.opening for row in rows)
    assert all(row.completion.startswith(tags.personalized) for row in rows)
    assert all(len(row.messages) == 2 for row in rows)


def test_a_bad_line_is_named(train: list[Item], tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    save_items(train[:2], path)
    good = path.read_text(encoding="utf-8")
    for bad, said in (
        ("{", "line 3: (the whole)"),
        ('{"id": "x"}', "line 3: kind"),
        (good.splitlines()[0], "line 3: id train-00000 is already on line 1"),
    ):
        path.write_text(f"{good}{bad}\n", encoding="utf-8")
        with pytest.raises(DataInvalid, match=r"items\.jsonl") as refused:
            load_items(path)
        assert said in refused.value.message
    with pytest.raises(DataInvalid, match="cannot be read"):
        load_items(tmp_path / "none.jsonl")
