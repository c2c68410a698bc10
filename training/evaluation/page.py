"""Page: the report for people, one HTML file that opens without a network.

Everything that an endpoint or a suite said is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template

from training.evaluation import mode_sections, sections
from training.evaluation.plots import signed
from training.evaluation.report import Headline, Report
from training.evaluation.tables import section

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(report: Report, path: Path) -> None:
    path.write_text(render_page(report), encoding="utf-8")


def render_page(report: Report) -> str:
    asked = report.asked
    about = (
        f"PersonaDual evaluation \u00b7 {asked.model} at {asked.url} \u00b7"
        f" {Path(asked.suite).name}, {sum(report.items.values()):,} items,"
        f" {report.answered:,} answers"
    )
    footer = (
        f"personadual {report.made['version']}, {report.made['at']}. Intervals: 95%, bootstrap"
        " over what is asked for (items on one entity go together), paired. Tests: exact,"
        " two-sided, paired likewise (McNemar's where each item stands alone), not corrected"
        " for their number."
    )
    return frame(
        title=f"{asked.model}: evaluation",
        about=about,
        headline=_headline(report.headline),
        notes=report.notes,
        parts=[part for make in _SECTIONS for part in make(report)],
        footer=footer,
    )


def frame(
    *, title: str, about: str, headline: str, notes: list[str], parts: list[str], footer: str
) -> str:
    """The whole page; `headline` and `parts` are ready HTML."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        about=escape(about),
        headline=headline,
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        sections="\n".join(parts),
        footer=escape(footer),
    )


def _headline(found: Headline) -> str:
    said = f"<span>{escape(found.text)}</span>"
    if found.interference is None:
        return said
    colour = {1: "bad", 0: "calm", -1: "good"}[found.sign]
    cost = signed(found.interference.value)
    return f'<strong class="{colour}">{cost}<small>points of interference</small></strong>{said}'


def _settings(report: Report) -> Iterator[str]:
    fields = asdict(report.asked)
    plan = fields.pop("plan")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.items.items())
    pairs = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_shown(value))}</dd>"
        for name, value in {**fields, **plan, "items": kinds}.items()
    )
    about = "The same settings again give figures that compare."
    yield from section("How it was asked", about, f"<dl>{pairs}</dl>")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "all" if value is None else str(value)


_SECTIONS = (
    sections.correctness,
    mode_sections.choice,
    mode_sections.reliability,
    mode_sections.regret,
    sections.swap,
    sections.parity,
    mode_sections.soundness,
    sections.worst,
    _settings,
)
