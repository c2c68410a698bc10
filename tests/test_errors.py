"""The error tree: whole in its drawing, and each leaf told apart by its code."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from model import errors
from model.errors import EngineBusy, PersonaDualError

ROOT = Path(__file__).parents[1]
DRAWN = re.compile(r"^((?:[│ ]   )*)[├└]── (\w+)", re.MULTILINE)
CLASS = re.compile(r"^class (\w+)\((\w+)\):", re.MULTILINE)


def sources() -> Iterator[tuple[str, str]]:
    for package in ("app", "model", "training"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()


def import_all() -> None:
    """Every module with a class of the tree, wherever it is defined; the others are left alone."""
    found = {(name, *pair) for name, text in sources() for pair in CLASS.findall(text)}
    known, before = {"PersonaDualError"}, 0
    while len(known) > before:
        before = len(known)
        known |= {own for _, own, parent in found if parent in known}
    for module in {name for name, _, parent in found if parent in known}:
        importlib.import_module(module)


def below(root: type[PersonaDualError]) -> Iterator[type[PersonaDualError]]:
    for one in root.__subclasses__():
        yield one
        yield from below(one)


def ours() -> list[type[PersonaDualError]]:
    import_all()
    packages = ("app", "model", "training")
    return [one for one in below(PersonaDualError) if one.__module__.split(".")[0] in packages]


def test_the_drawing_is_the_tree() -> None:
    """Every class stands in it, under its parent, and nothing else does."""
    path = ["PersonaDualError"]
    drawn = set()
    for indent, name in DRAWN.findall(errors.__doc__ or ""):
        path[len(indent) // 4 + 1 :] = [name]
        drawn.add((path[-2], name))
    assert drawn == {(one.__mro__[1].__name__, one.__name__) for one in ours()}


def test_each_error_has_a_code_of_its_own() -> None:
    """Else a program takes what a user can mend for our crash. An engine that is busy is one that
    is away: for the caller they are the same."""
    found = [one for one in ours() if one is not EngineBusy]
    assert [one.__name__ for one in found if "code" not in vars(one)] == []
    codes = [PersonaDualError.code, *(one.code for one in found)]
    assert sorted(codes) == sorted(set(codes))
