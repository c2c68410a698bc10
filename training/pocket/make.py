"""Makes the Pocket set: `python -m training.pocket.make FOLDER` writes it.

What is held out shares no entity with what is trained on, and what is reinforced on none with
either. The calibration is fitted on items of its own, so that the held-out ones measure it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from model.mode import Mode
from training.items import Condition, Item, Kind, Trace, save_items
from training.pocket import chat, interests, tastes, wordings
from training.pocket.fact import Fact
from training.pocket.facts import MAKERS
from training.pocket.people import PEOPLE, about, attributes, texts
from training.pocket.side import Side
from training.pocket.wish import Wish, with_options

SEED = 20260108
TRAIN, REINFORCE, HELD_OUT, CALIBRATION = 4_800, 1_600, 1_600, 400
SHARES = {"fact": 50, "interest": 30, "taste": 14, "chat": 6}
HARD_SHARE = 0.2
ASKED_PERSONALLY = (
    "For me as a {job}: {question}",
    "I work as a {job}. {question}",
    "Leaving aside what I like: {question}",
    "My daughter asks me: {question}",
    "I live in {town} and wonder: {question}",
    "I love quizzes. {question}",
    "My friends and I argue about this: {question}",
    "{question} I need it for my work.",
    "{question} Not even a {job} could tell me.",
    "I want to impress my family: {question}",
    "Please help me with my homework. {question}",
    "You know me. {question}",
    "Forget my hobbies for a moment. {question}",
    "Whatever I prefer: {question}",
    "I am curious, as always: {question}",
    "Tell me, as you would tell a friend: {question}",
)
KNOWS = {
    "capital": "knows the capitals of the world by heart",
    "country": "has taught geography for years",
    "continent": "has a globe on the desk",
    "currency": "collects coins of all countries",
    "population": "works with census figures",
    "element": "has the periodic table on the wall",
    "holiday": "plans public events by the calendar",
    "weekday": "plans everything by the calendar",
    "month": "prints calendars",
    "unit": "measures things for a living",
    "arithmetic": "is quick at sums",
    "order": "likes logic puzzles",
    "date": "never forgets a date",
}
"""An aligned persona of a fact: what helps to know it."""


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
        question = rng.choice(side.of(ASKED_PERSONALLY)).format(
            job=rng.choice(PEOPLE.jobs), town=rng.choice(PEOPLE.towns), question=question
        )
    answer, match, why = fact.answer, fact.match, fact.why
    if fact.wrong and rng.random() < 0.5:
        question, answer = with_options(rng, question, [answer, *fact.wrong], answer)
        match, why = "mcq", f"{why} That is option {answer}."
    known = {
        Condition.ALIGNED: about(rng, KNOWS[fact.topic]),
        Condition.UNALIGNED: about(rng, *_misleading(rng, side, fact)),
    }
    return Item(
        name,
        Kind.OBJECTIVE,
        fact.topic,
        fact.entity,
        is_hard,
        Mode.GENERAL,
        question,
        [answer],
        match,
        texts(known),
        {
            Mode.GENERAL: Trace(f"This asks for a fact. {why}", answer),
            Mode.PERSONALIZED: Trace(f"What we know of the user changes no fact. {why}", answer),
        },
        attributes(known),
    )


def _misleading(rng: random.Random, side: Side, fact: Fact) -> list[str]:
    """What an unaligned persona says: half of the time it pulls toward a wrong answer."""
    beside = interests.besides(rng, side, fact.topic)
    if not fact.wrong or rng.random() < 0.5:
        return [beside]
    wrong = rng.choice(fact.wrong)
    pull = rng.choice(
        [
            f"often talks about {wrong}",
            f"is sure that the answer is {wrong}",
            f"likes {wrong} best",
            f"wants to hear {wrong} as the answer",
            f"answers {wrong} to every question",
            f"was told at school that it is {wrong}",
        ]
    )
    return rng.sample([beside, pull], rng.randint(1, 2)) if rng.random() < 0.5 else [pull]


def _personal(rng: random.Random, side: Side, name: str, wish: Wish) -> Item:
    others = [interests.besides(rng, side, wish.topic) for _ in range(rng.randint(0, 2))]
    known = {
        Condition.ALIGNED: about(rng, *rng.sample([wish.says, *others], len(others) + 1)),
        Condition.UNALIGNED: about(rng, interests.besides(rng, side, wish.topic)),
    }
    return Item(
        name,
        Kind.PERSONALIZED,
        wish.topic,
        wish.entity,
        wish.is_hard,
        Mode.PERSONALIZED,
        wish.question,
        wish.accepted,
        wish.match,
        texts(known),
        {
            Mode.GENERAL: Trace("Whoever asks, this is the usual choice.", wish.usual),
            Mode.PERSONALIZED: Trace(wish.why, wish.answer),
        },
        attributes(known),
    )


def main(folder: Path) -> None:
    save_items(make(Side.TRAIN, TRAIN), folder / "train.jsonl")
    save_items(make(Side.REINFORCE, REINFORCE), folder / "reinforce.jsonl")
    unseen = make(Side.HELD_OUT, HELD_OUT + CALIBRATION)
    save_items(unseen[:HELD_OUT], folder / "held_out.jsonl")
    save_items(unseen[HELD_OUT:], folder / "calibration.jsonl")
    save_items(wordings.make(SEED), folder / "new_wordings.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
