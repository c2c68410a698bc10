"""Plots: small SVG pictures, drawn as text. Their colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from training.evaluation.intervals import Estimate
from training.evaluation.reliability import Reliability
from training.evaluation.report import Histogram

WIDTH = 816
LEFT, TOP, FOOT = 44, 14, 34
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one colour: an estimate per group, None where there is none."""

    name: str
    estimates: Sequence[Estimate | None]


def bars(groups: Sequence[str], series: Sequence[Series]) -> str:
    """Grouped bars from 0 to 100 %, each with its interval."""
    height, floor = 300, 250
    scale = floor - TOP
    parts = [
        _line(LEFT, y := floor - tick * scale, WIDTH, y, "grid")
        + _text(LEFT - 8, y + 4, f"{tick:.0%}", "end")
        for tick in TICKS
    ]
    room = (WIDTH - LEFT) / max(len(groups), 1)
    wide = min(46.0, room * 0.72 / max(len(series), 1))
    for place, group in enumerate(groups):
        present = [
            (number, found)
            for number, one in enumerate(series)
            if (found := one.estimates[place]) is not None
        ]
        middle = LEFT + room * (place + 0.5)
        for order, (number, found) in enumerate(present):
            x = middle + (order - len(present) / 2) * wide
            y, tall = floor - found.value * scale, found.value * scale
            said = f"{series[number].name}, {group}: {percent(found)}"
            parts.append(
                f'<g><title>{escape(said)}</title><rect class="s{number}" x="{x + 2:.1f}"'
                f' y="{y:.1f}" width="{wide - 4:.1f}" height="{tall:.1f}" rx="2"/>'
                + _whisker(x + wide / 2, floor - found.low * scale, floor - found.high * scale)
                + _text(x + wide / 2, floor - found.high * scale - 6, f"{found.value:.0%}")
                + "</g>"
            )
        parts.append(_text(middle, floor + 22, group, "middle", "name"))
    return _svg(height, parts, "Accuracy by condition") + _legend([one.name for one in series])


def intervals(rows: Sequence[tuple[str, Estimate]], title: str) -> str:
    """A dot with its interval per row, around zero, in points."""
    height, begin = 26 * len(rows) + FOOT, 230
    reach = max([0.02, *(abs(end) for _, one in rows for end in (one.low, one.high))]) * 1.1
    least = min(0.0, *(one.low for _, one in rows)) if rows else 0.0
    low = -reach if least < -0.002 else -0.04 * reach

    def x(value: float) -> float:
        return begin + (value - low) / (reach - low) * (WIDTH - begin - 70)

    parts = [_line(x(0), 4, x(0), height - FOOT + 6, "axis")]
    for place, (name, one) in enumerate(rows):
        y = 26 * place + 18
        parts.append(_text(begin - 16, y + 4, name, "end", "name"))
        parts.append(_line(x(one.low), y, x(one.high), y, "whisker"))
        parts.append(f'<circle class="dot" cx="{x(one.value):.1f}" cy="{y}" r="4.5"/>')
        parts.append(_text(x(one.high) + 10, y + 4, signed(one.value), "start"))
    parts.append(_text(x(0), height - 8, "0"))
    parts.append(_text(WIDTH, height - 8, "points", "end"))
    return _svg(height, parts, title)


def diagram(found: Reliability) -> str:
    """Frequency over probability; on the diagonal a probability is what it says."""
    side, floor, left = 280.0, 294.0, 52.0

    def x(value: float) -> float:
        return left + value * side

    def y(value: float) -> float:
        return floor - value * side

    parts = [_line(x(0), y(0), x(1), y(1), "diagonal")]
    for tick in TICKS:
        parts.append(_line(x(0), y(tick), x(1), y(tick), "grid"))
        parts.append(_text(left - 8, y(tick) + 4, f"{tick:g}", "end"))
        parts.append(_text(x(tick), floor + 18, f"{tick:g}"))
    most = max(one.frequency.answers for one in found.bins)
    for one in found.bins:
        size = 3.0 + 6.0 * (one.frequency.answers / most) ** 0.5
        middle = x(one.probability)
        said = f"{one.frequency.answers} answers: {percent(one.frequency)}"
        parts.append(
            f"<g><title>{escape(said)}</title>"
            + _whisker(middle, y(one.frequency.low), y(one.frequency.high))
            + f'<circle class="dot" cx="{middle:.1f}" cy="{y(one.frequency.value):.1f}"'
            f' r="{size:.1f}"/></g>'
        )
    parts.append(_text(x(0.5), floor + 38, "probability of personalised mode"))
    return _svg(int(floor) + 44, parts, "Reliability diagram", 350)


def histogram(found: Histogram) -> str:
    """Answers by probability, in shares of the tallest bar."""
    wide, floor = 210.0, 110.0
    step, most = wide / len(found.counts), max([1, *found.counts])
    parts = [
        f'<rect class="s0" x="{place * step + 0.5:.1f}" y="{floor - count / most * 96:.1f}"'
        f' width="{step - 1:.1f}" height="{count / most * 96:.1f}"/>'
        for place, count in enumerate(found.counts)
        if count
    ]
    parts.append(_line(0, floor, wide, floor, "axis"))
    parts += [_text(x, floor + 16, said, anchor) for x, said, anchor in _ends(wide)]
    title = f"{found.kind}, {sum(found.counts)} answers"
    return (
        f"<figure>{_svg(132, parts, title, 212)}<figcaption>{escape(title)}</figcaption></figure>"
    )


def percent(found: Estimate) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})".replace("-", "\u2212")


def signed(value: float) -> str:
    """A difference in points, with its sign; none on a zero."""
    said = f"{value * 100:+.1f}".replace("-", "\u2212")
    return "0.0" if said[1:] == "0.0" else said


def _ends(wide: float) -> list[tuple[float, str, str]]:
    return [(0.0, "0 general", "start"), (wide, "personalised 1", "end")]


def _svg(height: int, parts: Sequence[str], title: str, width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
        f' style="max-width:{width}px">{"".join(parts)}</svg>'
    )


def _legend(names: Sequence[str]) -> str:
    keys = (
        f'<span><i class="key s{place}"></i>{escape(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(keys)}</p>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _whisker(x: float, low: float, high: float) -> str:
    caps = (_line(x - 4, end, x + 4, end, "whisker") for end in (low, high))
    return _line(x, low, x, high, "whisker") + "".join(caps)


def _text(x: float, y: float, said: str, anchor: str = "middle", kind: str = "tick") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(said)}</text>'
