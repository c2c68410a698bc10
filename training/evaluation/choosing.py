r"""Choosing: the option that free text settles on.

What it states last counts ("The answer is B", else "so B"), before a letter that opens it and
before the first that is written as an option ("(B)", "B.", "**B**", "option B"). The words "A" and
"I" of English are no options, an option called wrong is not chosen, and "A or B" chooses none.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from model.reading import read_choice, undecorated

# A letter, and not a word: nothing that reads on as a sentence follows "A" and "I".
_GOES_ON = (
    r"(?:because|since|as|for|and|or|but|due|given|though|not|with|which|while|rather|instead)\b"
)
_ENDS = rf"(?=[)\]]?\s*(?:[.,;:!?/&(]|\Z|\n|[-\u2013\u2014]\s|{_GOES_ON}))"
_LETTER = rf"[(\[]?(?:(?P<letter>[B-HJ])(?![\w'\u2019-])|(?P<word>[AI])(?![\w'\u2019]){_ENDS})"
_NOUN = r"(?:answer|choice|option|pick|selection)"
_IS = r"(?:\s?:|\s(?:is|would be|should be|must be|has to be)\b:?)"
_EITHER = r"(?:(?i:either|clearly|therefore|definitely|option|choice)\s)*"
_STATED = re.compile(
    rf"(?<!wrong )(?<!incorrect )(?<!worst )\b(?i:{_NOUN}\b{_IS})\s?{_EITHER}{_LETTER}"
)
_CONCLUDED = re.compile(
    r"\b(?i:so|thus|hence|therefore|choose|pick|select|go with|go for|it is|it's|it must be)\b"
    rf",?\s{_EITHER}[(\[]?(?P<letter>[A-HJ])(?!\w){_ENDS}(?![)\]]?,\s?(?:and )?[A-J]\b)"
    r"|(?<!\w)(?P<praised>[A-J])\)?\sis\s(?:the\s)?(?:correct|right|best|answer)\b"
)
_OPENING = re.compile(r"\s?(?P<letter>[A-HJ]),(?!\s?(?:and |or )?[A-J]\b)")
_MARKED = re.compile(
    r"(?<!not )(?<!n't )(?:\((?P<a>[A-J])\)|(?<!\w)(?P<b>[A-J])[).:](?!\w)"
    r"|\b(?i:option|choice):?\s(?P<c>[A-J])\b)"
    r"(?!\)?\s(?:is|are)\s(?:wrong|incorrect|false|out)\b)"
)
# After a letter: another one beside it. "B and A is wrong" is none.
_RIVAL = re.compile(
    r"[)\].]?(?:,?\s(?i:(?:and/)?or\s(?:maybe\s|perhaps\s|possibly\s|else\s)?)"
    r"|\s?[/&]\s?|\s?(?=\([A-J]\))"
    r"|,?\sand\s(?!\W?[A-J]\W?\s(?:is|was|are|cannot)\b))"
    r"(?i:option\s|choice\s)?[(\[]?[A-J](?![\w'\u2019])"
)
# What sets a letter apart keeps doing so when its marks are gone.
_SET_APART = re.compile(
    r"\*\*[(\[]?([A-J])[)\].:]{0,2}\*\*"
    r"|\\f?box(?:ed)?\s?\{\s?(?:\\[a-z]+\s?\{\s?)?\(?([A-J])\)?\s?\}{1,2}"
)
_RUN = re.compile(r"\s+")


def chosen(text: str) -> str | None:
    """The letter A to J; empty if the text hedges between two, None if it names none."""
    # Patterns that look past a run of spaces take time by the square of its length.
    line_by_line = _RUN.sub(lambda run: "\n" if "\n" in run[0] else " ", text)
    plain = undecorated(_SET_APART.sub(lambda found: f"({found[1] or found[2]})", line_by_line))
    if stated := _last(_STATED.finditer(plain)):
        return _unless_rivalled(stated, plain)
    if letter := read_choice(plain.strip().split("\n", 1)[0]):
        return letter
    concluded = _last(_CONCLUDED.finditer(plain))
    found = concluded or _OPENING.match(plain) or _MARKED.search(plain)
    return _unless_rivalled(found, plain) if found else None


def _last(found: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(iter(deque(found, maxlen=1)), None)


def _unless_rivalled(found: re.Match[str], text: str) -> str:
    letter = next(group for group in found.groups() if group)
    return "" if _RIVAL.match(text, found.end()) else letter
