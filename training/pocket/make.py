"""Makes the Pocket set: `python -m training.pocket.make FOLDER` writes it.

No two sides share an entity, a wording or a persona's taste: what is held out is asked in words
that training has not seen, and the calibration is fitted on items that are as new to the model.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from model.mode import Mode
from training.items import Condition, Item, Kind, Trace, save_items
from training.pocket import chat, interests, tastes, wordings
from training.pocket.fact import WORDS, Fact
from training.pocket.facts import MAKERS
from training.pocket.people import PEOPLE, about, attributes, texts
from training.pocket.side import Side
from training.pocket.wish import Wish, with_options

SEED = 20260108
TRAIN, REINFORCE, HELD_OUT, CALIBRATION = 4_800, 1_600, 1_600, 400
SETTLED_FACTS, SETTLED_OTHERS, SETTLED_PERSONAL = 2_300, 1_000, 1_500
SETTLED_OF, SETTLED_SEED = 6_500, 5
SHARES = {"fact": 50, "interest": 30, "taste": 14, "chat": 6}
HARD_SHARE = 0.2


def make(side: Side, count: int) -> list[Item]:
    """The items of one side: the same ones every time, no question with one persona twice."""
    rng = random.Random(f"{SEED} {side.name}")
    items: dict[tuple[str, str], Item] = {}
    while len(items) < count:
        name = f"{side.name.lower()}-{len(items):05d}"
        item = _draw(rng, side, name)
        persona = "" if item.kind is Kind.OBJECTIVE else item.personas[Condition.ALIGNED]
        items.setdefault((item.question, persona), item)
    return list(items.values())


def to_settle() -> tuple[list[Item], list[Item]]:
    """What Pocket settles on: what the model itself is asked (`python -m benchmarks.settle`), and
    personal questions that stand beside it as they are, so that the other mode does not fade.

    No file of the set, but of the side for reinforcement, four times what DualGRPO takes of it,
    with more facts than its share: answers to the side for SFT are too sure to be moved by a
    persona.
    """
    items = make(Side.REINFORCE, SETTLED_OF)
    random.Random(SETTLED_SEED).shuffle(items)
    facts = [item for item in items if item.kind is Kind.OBJECTIVE]
    others = [item for item in items if item.kind is not Kind.OBJECTIVE]
    personal = [item for item in others[SETTLED_OTHERS:] if item.kind is Kind.PERSONALIZED]
    as_they_are = [
        replace(item, traces={item.mode: item.traces[item.mode]})
        for item in personal[:SETTLED_PERSONAL]
    ]
    return facts[:SETTLED_FACTS] + others[:SETTLED_OTHERS], as_they_are


def _draw(rng: random.Random, side: Side, name: str) -> Item:
    match rng.choices(list(SHARES), list(SHARES.values()))[0]:
        case "fact":
            return _fact(rng, side, name)
        case "interest":
            return _personal(rng, side, name, interests.draw(rng, side))
        case "taste":
            return _personal(rng, side, name, tastes.draw(rng, side))
        case _:
            return chat.draw(rng, side, name)


def _fact(rng: random.Random, side: Side, name: str) -> Item:
    maker = rng.choices(list(MAKERS), list(MAKERS.values()))[0]
    fact = maker(rng, side)
    question, is_hard = fact.question, rng.random() < HARD_SHARE
    if is_hard:
        question = rng.choice(side.words(WORDS.personally)).format(
            job=rng.choice(PEOPLE.jobs), town=rng.choice(PEOPLE.towns), question=question
        )
    answer, match, why = fact.answer, fact.match, fact.why
    if fact.wrong and rng.random() < 0.5:
        question, letters = with_options(rng, question, [answer, *fact.wrong])
        answer = letters[fact.answer]
        match, why = "mcq", f"{why} That is option {answer}."
    topic = WORDS.topics[fact.topic]
    known = {
        Condition.ALIGNED: about(rng, topic.knows),
        Condition.UNALIGNED: about(rng, *_misleading(rng, side, fact)),
    }
    return Item(
        id=name,
        kind=Kind.OBJECTIVE,
        topic=fact.topic,
        entity=fact.entity,
        is_hard=is_hard,
        mode=Mode.GENERAL,
        question=question,
        answers=[answer],
        match=match,
        personas=texts(known),
        traces={
            Mode.GENERAL: Trace(
                f"This asks for {topic.what}, the same for whoever asks. {why}", answer
            ),
            Mode.PERSONALIZED: Trace(
                f"The persona tells of the user, but {topic.what} stays the same. {why}", answer
            ),
        },
        attributes=attributes(known),
    )


def _misleading(rng: random.Random, side: Side, fact: Fact) -> list[str]:
    """What an unaligned persona says: half of the time it pulls toward a wrong answer."""
    beside = interests.besides(rng, side, fact.topic)
    if not fact.wrong or rng.random() < 0.5:
        return [beside]
    wrong = rng.choice(fact.wrong)
    pull = rng.choice(side.words(WORDS.pulls)).format(wrong=wrong)
    return rng.sample([beside, pull], rng.randint(1, 2)) if rng.random() < 0.5 else [pull]


def _personal(rng: random.Random, side: Side, name: str, wish: Wish) -> Item:
    others = [interests.besides(rng, side, wish.topic) for _ in range(rng.randint(0, 2))]
    known = {
        Condition.ALIGNED: about(rng, *rng.sample([wish.says, *others], len(others) + 1)),
        Condition.UNALIGNED: about(rng, interests.besides(rng, side, wish.topic)),
    }
    return Item(
        id=name,
        kind=Kind.PERSONALIZED,
        topic=wish.topic,
        entity=wish.entity,
        is_hard=wish.is_hard,
        mode=Mode.PERSONALIZED,
        question=wish.question,
        answers=wish.accepted,
        match=wish.match,
        personas=texts(known),
        traces={
            Mode.GENERAL: Trace(wish.whoever, wish.usual),
            Mode.PERSONALIZED: Trace(wish.why, wish.answer),
        },
        attributes=attributes(known),
    )


def main(folder: Path) -> None:
    save_items(make(Side.TRAIN, TRAIN), folder / "train.jsonl")
    save_items(make(Side.REINFORCE, REINFORCE), folder / "reinforce.jsonl")
    save_items(make(Side.HELD_OUT, HELD_OUT), folder / "held_out.jsonl")
    save_items(make(Side.CALIBRATION, CALIBRATION), folder / "calibration.jsonl")
    save_items(wordings.make(SEED), folder / "new_wordings.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
