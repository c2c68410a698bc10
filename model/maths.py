r"""Maths: what a LaTeX answer says, and whether it says what the key says.

Two ways of writing one answer read the same: `\frac12` and `0.5`, `x^{2}` and `x^2`, `1,2` and
`2,1`, `15\text{ cm}^2` and `15`. Nothing is worked out: `2*3` is not 6. Nothing in a text raises,
and cost grows with its length, not with its square.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from model.reading import is_equal, read_number


@dataclass(frozen=True, slots=True)
class Formula:
    """`name`: what it is said of, the x of "x = 5" and of "x \\in [0,1]"; else empty."""

    value: str | Fraction
    name: str = ""
    is_percent: bool = False


def is_answered(key: Formula, given: Formula) -> bool:
    """Whether an answer says what the key says.

    The key's name may be left out, or given where it has none, but not changed. A key in percent
    is met by the bare number too: it tells that the question asked for percent.
    """
    if key.name and given.name and key.name != given.name:
        return False
    is_bare = key.is_percent and not given.is_percent
    if is_bare and isinstance(key.value, Fraction) and is_equal(given.value, key.value * 100):
        return True
    return is_equal(given.value, key.value)


def read_math(text: str) -> Formula | None:
    r"""The answer without what does not change its meaning.

    The content of the last `\boxed{}` counts, else all of the text.
    """
    plain = _boxed(text)
    for pattern, new in _SPELLING:
        plain = pattern.sub(new, plain)
    # One space for each run of them: what follows looks for spaces before signs.
    plain = " ".join(plain.split()).strip("*` ")
    name, items = _named(_items(_with_braces(plain)))
    values = [_value(item) for item in items]
    if len(values) == 1:
        return Formula(values[0], name, "%" in plain) if values[0] != "" else None
    # Of a list without brackets the order says nothing.
    return Formula(", ".join(sorted(map(str, values))), name)


_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|\\boxed\s(?!\s)")


def _boxed(text: str) -> str:
    r"""What the last `\boxed{}` holds, nested braces included, or what follows `\boxed` without
    braces in its formula; the text if none is closed."""
    last = next(iter(deque(_BOX.finditer(text), maxlen=1)), None)
    if last is None:
        return text
    depth, first = 0, last.end()
    if not last[0].endswith("{"):
        return text[first:].partition("$")[0]
    for found in re.finditer(r"\\.|[{}]", text[first:], re.DOTALL):
        if found[0] == "}" and depth == 0:
            return text[first : first + found.start()]
        depth += {"{": 1, "}": -1}.get(found[0], 0)
    return text


# In this order. A line break of a matrix, `\\`, stays whatever follows it.
_SPELLING = (
    (re.compile(r"(\\\\)|\\(?:left|right|displaystyle)(?![a-zA-Z])|\\!\s*|\\[,()\[\]$]|\$"), r"\1"),
    (re.compile(r"(?<!\\)\\[;: ]|~"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[dt]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:mbox|mathrm|textbf|mathbf)(?![a-zA-Z])"), r"\\text"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))"), "°"),
)

_TOKENS = re.compile(r"\\sqrt\s*\[[^\[\]{}\\]*\]|\\[a-zA-Z]+|\\.|\s+|.", re.DOTALL)
_ARGUMENTS = {"\\frac": 2, "\\sqrt": 1, "^": 1, "_": 1}


def _with_braces(text: str) -> str:
    r"""Every argument of `\frac`, `\sqrt`, `^` and `_` in braces, as TeX takes them."""
    done: list[str] = []
    open_ones: list[int] = []
    wanted = 0
    for token in _TOKENS.findall(text):
        arguments = _ARGUMENTS.get("\\sqrt" if token.startswith("\\sqrt") else token)
        if arguments:
            wanted = arguments
        elif token == "{":
            open_ones.append(max(wanted - 1, 0))
            wanted = 0
        elif token == "}":
            wanted = open_ones.pop() if open_ones else 0
        elif wanted and not token.isspace() and token != "\\text":
            token, wanted = f"{{{token}}}", wanted - 1
        done.append(token)
    return "".join(done)


def _items(text: str) -> list[str]:
    """What stands between commas outside brackets; all of it where one would be empty."""
    found = [text[first:end] for first, end in _spans(text)]
    return found if all(item.strip() for item in found) else [text]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    depth = first = 0
    for found in _SEPARATORS.finditer(text):
        if found[0] != ",":
            depth += 1 if found[0] in "([{" else -1
        elif depth == 0:
            yield first, found.start()
            first = found.end()
    yield first, len(text)


# The comma of "1,000" separates nothing.
_SEPARATORS = re.compile(r"[(\[{)\]}]|,(?!(?<=[0-9],)[0-9]{3}(?![0-9]))")

_NAME = re.compile(
    r"\s*(?P<name>[a-zA-Z](?:_\{\w\})?(?:\([a-zA-Z]\))?)\s*(?:=|\\in(?![a-zA-Z]))(?=\s*[^\s=])"
)


def _named(items: list[str]) -> tuple[str, list[str]]:
    """The name that all items have, or the first for all; and the items without it."""
    found = [_NAME.match(item) for item in items]
    names = {one["name"] for one in found if one}
    if len(names) != 1 or found[0] is None or (None in found[1:] and any(found[1:])):
        return "", items
    ends = [one.end() if one else 0 for one in found]
    return names.pop(), [item[end:] for item, end in zip(items, ends, strict=True)]


_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_FRACTION = r"\\frac\{(-?[0-9]{1,100})\}\{([0-9]{1,100})\}"
_MIXED = re.compile(rf"\s*(-?)\s*([0-9]{{1,100}})\s*{_FRACTION}")
# Behind a digit it is a product, or no fraction that a mixed number has.
_SIMPLE = re.compile(rf"(?<![0-9}}\s])\s*{_FRACTION}")
_POWER = re.compile(r"\s*\^\{(-?[0-9])\}")
_OPTION = re.compile(r"\(([A-Z])\)")
# Letters behind a number that are no unit: "5x", "2ab", "2 i".
_VARIABLES = re.compile(
    r"[0-9}](?!\s?(?:[ckm]m|[km]?g|m[lL]|ft|in|mi|lbs?|oz|hrs?|min|sec|[ap]m|th|st|nd|rd|k)\b)"
    r"(?!e[+-]?[0-9])(?:[a-zA-Z]|\s[a-zA-Z]{1,2}(?![a-zA-Z]))"
)


def _value(item: str) -> str | Fraction:
    """The number, or the text without space and, of a word, without case."""
    has_variables = _VARIABLES.search(item) is not None
    plain = _TEXT.sub(r" \1 ", item).replace("°", "")
    if not has_variables:
        plain = _MIXED.sub(_improper, plain, count=1) if _MIXED.match(plain) else plain
    plain = _SIMPLE.sub(r"\1/\2", plain)
    number = None if has_variables else read_number(_POWER.sub(r"^\1", plain.strip()))
    if number is not None:
        return number
    bare = "".join(plain.split()).rstrip(".")
    if option := _OPTION.fullmatch(bare):
        return option[1]
    # Words have no case; variables do.
    return bare.casefold() if bare.isalpha() and len(bare) > 3 else bare


def _improper(found: re.Match[str]) -> str:
    """5/2 of "2 1/2"; what has no proper fraction stays."""
    sign, whole, above, below = found.groups()
    if not 0 < int(above) < int(below):
        return found[0]
    return f"{sign}{int(whole) * int(below) + int(above)}/{below}"
