"""Reading: what the text of an answer says, as an option's letter, a number or words.

Rewards, evaluation and the gateway compare answers by these rules. What hedges (two letters, two
numbers) says nothing: it reads as None. Nothing in a text raises. Maths: `model.maths`.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

MAX_NUMBER_CHARACTERS = 200
TOLERANCE = Fraction(1, 10**6)
"""Relative, and for numbers with a part behind the point: whole numbers must be equal."""


def is_equal(found: str | Fraction, wanted: str | Fraction | None) -> bool:
    """Whether two readings are the same value, numbers within `TOLERANCE`."""
    if not (isinstance(found, Fraction) and isinstance(wanted, Fraction)):
        return found == wanted
    if found.denominator == wanted.denominator == 1:
        return found == wanted
    return abs(found - wanted) <= TOLERANCE * max(abs(found), abs(wanted))


def agree(first: str, second: str) -> bool | None:
    """Whether two answers name the same option or the same number; None where they name neither."""
    for read in (read_choice, read_number):
        found, other = read(first), read(second)
        if found is not None and other is not None:
            return is_equal(found, other)
    return None


# The letter, its delimiter or the end, and what follows: the option's text.
_CHOICE = re.compile(
    r"(?:(?:the|my|correct|right|best|final|answer|option|choice|is)\b:?\s*)*"
    r"[(\[]?(?P<letter>[a-j])(?!\w)"
    r"(?:\s*(?:[)\].:]|[-\u2013\u2014]\s)+|\s*(?:\n|\Z))(?P<rest>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
# A second option in that text: "(C)", "C)", "or C", ", C. London"; but neither "Vitamin C" nor
# "Franklin D. Roosevelt".
_MORE_CHOICES = re.compile(
    r"[(\[]([A-Ja-j])[)\]]"
    r"|(?<!\w)([A-J])[):]"
    r"|\b(?:option|choice)\s+([A-Ja-j])\b"
    r"|\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?:\s+is)?:?\s+([A-J])\b"
    r"|(?:\A|[\n,;.!?/&|+]|\b(?:[Oo]r|and|so))\s*\b([A-J])(?:\.(?=\s)|[\s.]*\Z)"
)
# Each line break of a run would look through the rest of it: time by the square of its length.
_BLANK = re.compile(r"\s+")
_DECORATION = re.compile(
    r"\\(?:boxed|fbox|text|mbox|mathrm|textbf|mathbf)(?![a-zA-Z])|\\[()\[\]]|[{}$]|\*\*"
)


def undecorated(text: str) -> str:
    r"""The text without `\boxed{}`, `\text{}`, maths delimiters and bold marks."""
    return _DECORATION.sub("", text)


def read_choice(text: str) -> str | None:
    """The letter A to J of "B", "(b)", "B. Paris" or "Option B"; None if not exactly one."""
    plain = unicodedata.normalize("NFKC", text).strip().strip("*_`\"'$").strip()
    found = _CHOICE.match(plain) or _CHOICE.match(undecorated(plain).strip())
    if found is None:
        return None
    letter = found["letter"].upper()
    rest = _BLANK.sub(lambda run: "\n" if "\n" in run[0] else " ", found["rest"])
    others = {group.upper() for more in _MORE_CHOICES.findall(rest) for group in more}
    return letter if others <= {letter, ""} else None


_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2044": "/", "\u00a0": " "})
_ARTICLES = frozenset({"a", "an", "the"})


def read_text(text: str) -> str | None:
    """The text without case, articles, punctuation and surplus space.

    Signs that carry a value stay: a minus or point before a digit, and what stands between two
    digits. Text that would lose everything keeps what it has ("The", "?").
    """
    # NFC and not NFKC, which reads "10²" as "102".
    folded = unicodedata.normalize("NFC", text.translate(_SIGNS)).casefold()
    folded = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", folded)
    kept = [_keep(folded, place) for place in range(len(folded))]
    words = "".join(kept).split()
    told = [word for word in words if word not in _ARTICLES] or words or folded.split()
    return " ".join(told) or None


def _keep(text: str, place: int) -> str:
    """What normalised text has for the character at `place`."""
    character = text[place]
    category = unicodedata.category(character)
    if category[0] != "P" or character in "#%&@":
        return character
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    is_dash = category == "Pd"
    is_signed = (is_dash or character == ".") and not before.isalnum()
    if after.isdigit() and (before.isdigit() or is_signed):
        return "-" if is_dash else character
    return " " if is_dash else ""


_SCALES = {"hundred": 2, "thousand": 3, "k": 3, "million": 6, "billion": 9, "trillion": 12}
_WORD = r"(?!(?:or|and|to|but|not)\b)[^\W\d_]+"
_NUMBER = re.compile(
    r"(?:[$€£¥]\s*)?(?P<sign>[+-]?)\s*(?:[$€£¥]\s*)?"
    r"(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?P<exponent>[eE][+-]?[0-9]{1,3})?"
    r"(?:\s*/\s*(?P<below>[0-9]+))?"
    rf"(?:\s*(?P<percent>%|per\s?cent\b)|\s*(?P<scale>{'|'.join(_SCALES)})\b)?"
    # A unit: words, joined by spaces or signs, with a power at most.
    rf"(?:\s*[$€£¥°]?(?:{_WORD}(?:\^-?[1-9]|[²³])?)?(?:[\s/*·]+{_WORD}(?:\^-?[1-9]|[²³])?){{0,5}})"
    r"\s*\.?"
)


def read_number(text: str) -> Fraction | None:
    """The exact number of "1,000", "1e3", "-3/4", "$5", "12 km/h" or "3 million"; else None.

    A percent sign divides by 100: "50%" equals "0.5", and never "50". Units are not compared.
    """
    plain = text.translate(_SIGNS).strip()
    found = _NUMBER.fullmatch(plain) if len(plain) <= MAX_NUMBER_CHARACTERS else None
    if found is None or (found["below"] and int(found["below"]) == 0):
        return None
    value = Fraction(found["digits"].replace(",", "").rstrip(".") + (found["exponent"] or ""))
    value /= int(found["below"] or 1) * (100 if found["percent"] else 1)
    value *= Fraction(10) ** _SCALES.get(found["scale"] or "", 0)
    return -value if found["sign"] == "-" else value
