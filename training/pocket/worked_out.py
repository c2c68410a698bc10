"""Questions that are worked out: calendar, units, arithmetic, order."""

from __future__ import annotations

import calendar
import datetime
import random
from functools import cache
from typing import Any

import pint

from training.pocket.fact import Fact, ask, others
from training.pocket.side import Side


def weekday(rng: random.Random, side: Side) -> Fact:
    days = list(calendar.day_name)
    while True:
        first, ahead = rng.randrange(7), rng.randint(2, 10)
        if side.has(f"weekday {first} {ahead}"):
            break
    answer = days[(first + ahead) % 7]
    question = ask(rng, side, "weekday", days[first], ahead)
    ahead_of = ", ".join(days[(first + place) % 7] for place in range(1, ahead + 1))
    why = f"Counting on from {days[first]}: {ahead_of}."
    return Fact(
        "weekday", f"weekday {first} {ahead}", question, answer, why, others(rng, days, answer)
    )


def month_length(rng: random.Random, side: Side) -> Fact:
    while True:
        number, year = rng.randint(1, 12), rng.randint(1990, 2040)
        if side.has(f"month {number} {year}"):
            break
    length = calendar.monthrange(year, number)[1]
    name = calendar.month_name[number]
    question = ask(rng, side, "month", name, year)
    leap = "a leap year" if calendar.isleap(year) else "no leap year"
    why = f"{year} is {leap}, so {name} has {length} days."
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
    one = round(_registry().Quantity(1, large).to(small).magnitude)
    answer = str(round(_registry().Quantity(count, large).to(small).magnitude))
    many, few = (_PLURALS.get(name, f"{name}s") for name in (large, small))
    question = ask(rng, side, "unit", count, few, many)
    wrong = [str(int(answer) * 10), str(int(answer) + count), str(int(answer) * 2)]
    return Fact(
        "unit",
        f"unit {large} {count}",
        question,
        answer,
        f"One {large} is {one} {few}, and {count} times {one} is {answer}.",
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
    question = ask(rng, side, "arithmetic", one, words, two, sign)
    wrong = [str(result + 1), str(result + 10), str(result - 2 if result > 1 else result + 2)]
    why = f"{_in_parts(one, sign, two)}, so {one} {words} {two} is {result}."
    return Fact("arithmetic", f"{one} {sign} {two}", question, str(result), why, wrong, "number")


def _in_parts(one: int, sign: str, two: int) -> str:
    """How it is done in the head: the tens of the second number first, or five times."""
    if sign == "x":
        if two <= 5:
            return f"{one} is to be taken {two} times"
        rest = two - 5
        return f"5 times {one} is {5 * one}, {rest} times {one} is {rest * one}"
    tens, ones = two // 10 * 10, two % 10
    if not tens or not ones:
        return f"{one} {sign} {two} is one step"
    step = one + tens if sign == "+" else one - tens
    last = step + ones if sign == "+" else step - ones
    return f"{one} {sign} {tens} is {step}, and {step} {sign} {ones} is {last}"


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
    asked = ask(rng, side, "order", most)
    question = f"{' '.join(clues)} {asked}"
    why = f"{one} is {more} than {two}, who is {more} than {three}, so {one} is the {most}."
    return Fact("order", f"{one} {two} {three}", question, one, why, [two, three])


def year_day(rng: random.Random, side: Side) -> Fact:
    while True:
        date = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randrange(366))
        if side.has(f"after {date}"):
            break
    following = date + datetime.timedelta(days=1)
    answer = f"{calendar.month_name[following.month]} {following.day}"
    question = ask(rng, side, "date", calendar.month_name[date.month], date.day)
    month, length = calendar.month_name[date.month], calendar.monthrange(2024, date.month)[1]
    wrong = [
        f"{calendar.month_name[day.month]} {day.day}"
        for day in (date - datetime.timedelta(days=1), date + datetime.timedelta(days=2))
    ]
    return Fact(
        "date",
        f"after {date}",
        question,
        answer,
        f"{month} has {length} days in a leap year, so after {month} {date.day} comes {answer}.",
        wrong,
    )
