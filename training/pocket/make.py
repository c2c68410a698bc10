"""Makes the Pocket set: `python -m training.pocket.make FOLDER` writes both sides of it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from model.mode import Mode
from training.items import Condition, Item, Kind, Trace, save_items
from training.pocket import tastes
from training.pocket.fact import Fact
from training.pocket.facts import MAKERS
from training.pocket.side import Side

SEED = 20260108
TRAIN, HELD_OUT = 6_400, 1_600
PERSONAL_SHARE = 0.42
HARD_SHARE = 0.15
_PERSONAL_WORDS = (
    "For me as a {job}: {question}",
    "Leaving aside what I like: {question}",
    "My daughter asks me: {question}",
    "I live in {town} and wonder: {question}",
    "I love quizzes. {question}",
)


def make(side: Side, count: int) -> list[Item]:
    """The items of one side: the same ones every time, no question with one persona twice."""
    rng = random.Random(f"{SEED} {side.is_held_out}")
    items: dict[tuple[str, str], Item] = {}
    while len(items) < count:
        name = f"{'held' if side.is_held_out else 'train'}-{len(items):05d}"
        item = (
            _personal(rng, side, name) if rng.random() < PERSONAL_SHARE else _fact(rng, side, name)
        )
        key = (
            item.question,
            item.personas[Condition.ALIGNED] if item.kind is Kind.PERSONALIZED else "",
        )
        items.setdefault(key, item)
    return list(items.values())


def _fact(rng: random.Random, side: Side, name: str) -> Item:
    maker = rng.choices(list(MAKERS), list(MAKERS.values()))[0]
    fact = maker(rng, side)
    job, town = rng.choice(tastes.WORDS.jobs), rng.choice(tastes.WORDS.towns)
    question, is_hard = fact.question, rng.random() < HARD_SHARE
    if is_hard:
        question = rng.choice(_PERSONAL_WORDS).format(job=job, town=town, question=question)
    answer, answers, match, end = fact.answer, [fact.answer], fact.match, ""
    if fact.wrong and rng.random() < 0.5:
        options = [fact.answer, *fact.wrong]
        rng.shuffle(options)
        letter = "ABCD"[options.index(fact.answer)]
        question += "\n" + "\n".join(f"{'ABCD'[i]}) {text}" for i, text in enumerate(options))
        answer, answers, match, end = letter, [letter], "mcq", f" That is option {letter}."
    return Item(
        name,
        Kind.OBJECTIVE,
        fact.topic,
        fact.entity,
        is_hard,
        Mode.GENERAL,
        question,
        answers,
        match,
        {
            Condition.ALIGNED: tastes.about(rng, f"knows {fact.topic}s well"),
            Condition.UNALIGNED: _misleading(rng, fact),
        },
        {
            Mode.GENERAL: Trace(f"This asks for a fact. {fact.why}{end}", answer),
            Mode.PERSONALIZED: Trace(
                f"What we know of the user does not change a fact. {fact.why}{end}", answer
            ),
        },
    )


def _misleading(rng: random.Random, fact: Fact) -> str:
    if fact.wrong and rng.random() < 0.5:
        wrong = rng.choice(fact.wrong)
        return tastes.about(
            rng,
            rng.choice(
                [
                    f"often talks about {wrong}",
                    f"is sure that the answer is {wrong}",
                    f"likes {wrong}",
                ]
            ),
        )
    return tastes.unrelated(rng, fact.topic)


def _personal(rng: random.Random, side: Side, name: str) -> Item:
    wish = tastes.wish(rng, side)
    suited = wish.answers[0] if wish.is_choice else _named(wish)
    return Item(
        name,
        Kind.PERSONALIZED,
        wish.topic,
        wish.entity,
        wish.topic in tastes.WORDS.hard,
        Mode.PERSONALIZED,
        wish.question,
        wish.answers,
        "mcq" if wish.is_choice else "text",
        {
            Condition.ALIGNED: wish.persona,
            Condition.UNALIGNED: tastes.unrelated(rng, wish.topic),
        },
        {
            Mode.GENERAL: Trace("Whoever asks, this is the usual choice.", wish.usual),
            Mode.PERSONALIZED: Trace(wish.why, suited),
        },
    )


def _named(wish: tastes.Wish) -> str:
    """The accepted answer that the reason names."""
    return next(answer for answer in wish.answers if answer.rstrip(".") in wish.why)


def main(folder: Path) -> None:
    for name, side, count in (("train", Side(False), TRAIN), ("held_out", Side(True), HELD_OUT)):
        save_items(make(side, count), folder / f"{name}.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
