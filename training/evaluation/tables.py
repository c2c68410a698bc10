"""Tables and the words in them: what the page's sections are written with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from training.evaluation.intervals import SignTest
from training.evaluation.plots import signed
from training.evaluation.report import Row

WAYS = {
    "auto/shared": "the model's choice",
    "auto/strict": "the model's choice, strict isolation",
    "forced/general": "general, forced",
    "forced/personalized": "personalised, forced",
}
PERSONAS = {
    "none": "no persona",
    "aligned": "fitting persona",
    "unaligned": "unrelated persona",
    "injected": "injected persona",
}


def folded(summary: str, content: str) -> str:
    """What a reader opens if it is wanted."""
    said = escape(summary)
    return f"<details><summary>{said}</summary>{content}</details>" if content else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ready cells; nothing where it has no rows."""
    if not rows:
        return ""
    is_number = [cell.startswith('<td class="n"') for cell in map(_cell, rows[0])]
    head = "".join(
        f'<th class="n">{escape(said)}</th>' if right else f"<th>{escape(said)}</th>"
        for said, right in zip(heads, is_number, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(content: str) -> str:
    return content if content.startswith("<td") else f"<td>{content}</td>"


def number(said: str) -> str:
    """A cell of figures."""
    return f'<td class="n">{escape(said)}</td>'


def section(title: str, about: str, *parts: str) -> Iterator[str]:
    """A section; none where all its parts are empty."""
    if any(parts):
        yield f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{''.join(parts)}</section>"


def way(row: Row) -> str:
    return WAYS.get(row.label.way, row.label.way)


def words(part: str) -> str:
    return escape(plain_words(part))


def plain_words(part: str) -> str:
    """A label's part in words: `objective/none` is "objective, no persona"; not escaped."""
    return ", ".join(PERSONAS.get(word, word) for word in part.split("/"))


def points(row: Row) -> str:
    """A difference with its interval."""
    found = row.estimate
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def ranged(row: Row | None, digits: int = 2) -> str:
    """A plain value with its interval."""
    if row is None:
        return ""
    found = row.estimate
    low, high = max(found.low, 0.0), found.high
    return f"{found.value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def p_value(test: SignTest | None) -> str:
    return "" if test is None else test.said
