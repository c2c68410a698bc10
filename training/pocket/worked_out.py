"""Questions that are worked out: calendar, units, arithmetic, order."""

from __future__ import annotations

import calendar
import datetime
import random
from functools import cache
from typing import Any

import pint

from training.pocket.fact import Fact, others
from training.pocket.side import Side


def weekday(rng: random.Random, side: Side) -> Fact:
    days = list(calendar.day_name)
    while True:
        first, ahead = rng.randrange(7), rng.randint(1, 10)
        if side.has(f"weekday {first} {ahead}"):
            break
    answer = days[(first + ahead) % 7]
    question = rng.choice(
        [
            "If today is {}, which day is it in {} days?",
            "Today is {}. What day of the week comes {} days later?",
        ]
    ).format(days[first], ahead)
    why = f"{ahead} days after {days[first]} it is {answer}."
    return Fact(
        "weekday", f"weekday {first} {ahead}", question, answer, why, others(rng, days, answer)
    )


def month(rng: random.Random, side: Side) -> Fact:
    while True:
        number, year = rng.randint(1, 12), rng.randint(1990, 2040)
        if side.has(f"month {number} {year}"):
            break
    length = calendar.monthrange(year, number)[1]
    name = calendar.month_name[number]
    question = rng.choice(["How many days does {} {} have?", "How long is {} {}, in days?"]).format(
        name, year
    )
    why = f"{name} {year} has {length} days."
    wrong = [str(count) for count in (28, 29, 30, 31) if count != length]
    return Fact("month", f"month {number} {year}", question, str(length), why, wrong, "number")


_UNITS = [
    ("kilogram", "gram"),
    ("kilometer", "meter"),
    ("meter", "centimeter"),
    ("hour", "minute"),
    ("minute", "second"),
    ("day", "hour"),
    ("week", "day"),
    ("liter", "milliliter"),
    ("centimeter", "millimeter"),
    ("foot", "inch"),
    ("yard", "foot"),
    ("tonne", "kilogram"),
]
_PLURALS = {"foot": "feet", "inch": "inches"}


@cache
def _registry() -> pint.UnitRegistry[Any]:
    return pint.UnitRegistry()


def unit(rng: random.Random, side: Side) -> Fact:
    while True:
        (large, small), count = rng.choice(_UNITS), rng.randint(2, 12)
        if side.has(f"unit {large} {count}"):
            break
    answer = str(round(_registry().Quantity(count, large).to(small).magnitude))
    many, few = (_PLURALS.get(name, f"{name}s") for name in (large, small))
    question = rng.choice(
        ["How many {1} are {0} {2}?", "Convert {0} {2} to {1}.", "{0} {2}: how many {1} is that?"]
    ).format(count, few, many)
    wrong = [str(int(answer) * 10), str(int(answer) + count), str(int(answer) * 2)]
    return Fact(
        "unit",
        f"unit {large} {count}",
        question,
        answer,
        f"{count} {many} are {answer} {few}.",
        wrong,
        "number",
    )


def arithmetic(rng: random.Random, side: Side) -> Fact:
    sign = rng.choice("+-x")
    while True:
        one, two = rng.randint(2, 40), rng.randint(2, 40)
        if sign == "x":
            one, two = rng.randint(2, 12), rng.randint(2, 12)
        one, two = max(one, two), min(one, two)
        if side.has(f"{one} {sign} {two}"):
            break
    result = {"+": one + two, "-": one - two, "x": one * two}[sign]
    words = {"+": "plus", "-": "minus", "x": "times"}[sign]
    question = rng.choice(
        [
            "What is {0} {1} {2}?",
            "How much is {0} {1} {2}?",
            "Calculate {0} {3} {2}.",
            "{0} {3} {2} = ?",
        ]
    ).format(one, words, two, sign)
    wrong = [str(result + 1), str(result + 10), str(max(result - 2, 0))]
    why = f"{one} {words} {two} is {result}."
    return Fact("arithmetic", f"{one} {sign} {two}", question, str(result), why, wrong, "number")


_NAMES = "Ann Ben Cleo Dan Eve Finn Gus Hana Ivo Jun Kai Lea Mia Noa Otto Pia".split()  # noqa: SIM905
_SCALES = [
    ("taller", "tallest"),
    ("older", "oldest"),
    ("faster", "fastest"),
    ("heavier", "heaviest"),
]


def order(rng: random.Random, side: Side) -> Fact:
    while True:
        one, two, three = rng.sample(_NAMES, 3)
        if side.has(f"{one} {two} {three}"):
            break
    more, most = rng.choice(_SCALES)
    clues = [f"{one} is {more} than {two}.", f"{two} is {more} than {three}."]
    rng.shuffle(clues)
    question = f"{' '.join(clues)} Who is the {most}?"
    why = f"{one} is {more} than {two}, who is {more} than {three}, so {one} is the {most}."
    return Fact("order", f"{one} {two} {three}", question, one, why, [two, three])


def year_day(rng: random.Random, side: Side) -> Fact:
    while True:
        date = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(366))
        if side.has(f"after {date}"):
            break
    following = date + datetime.timedelta(days=1)
    answer = f"{calendar.month_name[following.month]} {following.day}"
    question = rng.choice(
        ["Which date follows {} {}?", "What is the date one day after {} {}, in a leap year?"]
    ).format(calendar.month_name[date.month], date.day)
    wrong = [
        f"{calendar.month_name[day.month]} {day.day}"
        for day in (date - datetime.timedelta(days=1), date + datetime.timedelta(days=2))
    ]
    return Fact(
        "date",
        f"after {date}",
        question,
        answer,
        f"After {calendar.month_name[date.month]} {date.day} comes {answer}.",
        wrong,
    )
