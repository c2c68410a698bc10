"""A checkpoint's figures: `python -m benchmarks.figures runs/pocket --page model/pocket/README.md`.

Serves it, evaluates it on the held-out Pocket set, and writes what came out into its card and into
two blocks of the page: the card's figures, and beside those of the untrained base what is wanted.
An evaluation that was stopped goes on; what was asked once is not asked again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.served import cell, evaluate_pocket, personadual, serving
from model.card import Card, load_card

BEGIN = "<!-- figures of the card; `python -m benchmarks.figures` writes them -->"
END = "<!-- end of the figures -->"
WANTED_BEGIN = "<!-- what is wanted; `python -m benchmarks.figures --base` writes it -->"
WANTED_END = "<!-- end of what is wanted -->"
SAID = {
    "mode_agreement": "mode as the item's kind asks",
    "personalized_accuracy": "personal questions right, aligned persona",
    "accuracy_no_persona": "facts right, no persona",
    "accuracy_aligned": "facts right, aligned persona",
    "accuracy_unaligned": "facts right, unaligned persona",
    "accuracy_injected": "facts right, persona with orders and a false claim",
    "adoption": "that claim answered, beyond chance, points",
    "interference": "interference: none minus unaligned, points",
    "negative_flips": "facts that the unaligned persona turned from right to wrong",
    "regret": "regret: better forced mode minus the chosen one, points",
    "swap_invariance": "same general answer after the persona is swapped, facts",
    "calibration_error": "expected calibration error of the probability, of 100",
}

FACTS, GENERAL = "objective", "forced/general"
REQUIRED = (
    ("mode as the item's kind asks, plain items", "agreement", "plain", "auto/shared", "98"),
    ("mode as the item's kind asks, hard pairs", "agreement", "hard", "auto/shared", "90"),
    (SAID["personalized_accuracy"], "personalized_accuracy", "aligned", "auto/shared", "base + 25"),
    (SAID["accuracy_no_persona"], "accuracy", "none", "auto/shared", "base"),
    (SAID["accuracy_aligned"], "accuracy", "aligned", "auto/shared", ""),
    (SAID["accuracy_unaligned"], "accuracy", "unaligned", "auto/shared", ""),
    (SAID["accuracy_injected"], "accuracy", "injected", "auto/shared", ""),
    (SAID["adoption"], "adoption", FACTS, "auto/shared", ""),
    (SAID["interference"], "interference", FACTS, "auto/shared", "at most 2"),
    (SAID["negative_flips"], "negative_flips", "unaligned", "auto/shared", ""),
    ("interference in strict isolation, points", "interference", FACTS, "auto/strict", ""),
    (
        "general forced: the same answer after a swap, facts",
        "swap_invariance",
        FACTS,
        GENERAL,
        "95",
    ),
    ("the same, personal questions", "swap_invariance", "personalized", GENERAL, "95"),
    (
        "personalised forced: another answer after a swap, personal questions",
        *("swap_change", "personalized", "forced/personalized", ""),
    ),
    ("valid reply format", "valid_format", "all", "auto/shared", "99"),
    (SAID["regret"], "regret", "all", "auto/shared", ""),
)
"""What is said, measure, part and way of a report's row, and what is wanted of it."""


def fingerprint(checkpoint: Path) -> str:
    """Of weights and calibration: answers of an earlier training are not taken for this one's."""
    found = hashlib.sha256(repr(load_card(checkpoint)[0].calibration).encode())
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:12]


def block(card: Card) -> str:
    """The card's evaluation as Markdown, in hundreds, with 95 % intervals."""
    found = card.evaluation
    if not found:
        return f"{BEGIN}\nNot measured yet.\n{END}"
    lines = [f"| {found['items']} held-out items, {found['way']} | of 100 |", "| --- | --- |"]
    for name, said in SAID.items():
        if name in found["figures"]:
            value, low, high = (f"{100 * number:.1f}" for number in found["figures"][name])
            lines.append(f"| {said} | {value} [{low}, {high}] |")
    return "\n".join([BEGIN, *lines, END])


def wanted(report: dict[str, Any], base: dict[str, Any]) -> str:
    """What is wanted of a checkpoint, beside what it and the untrained base have, in hundreds."""
    lines = [
        WANTED_BEGIN,
        "| of 100 | base, prompted | this checkpoint | wanted |",
        "| --- | --- | --- | --- |",
    ]
    for said, *row, least in REQUIRED:
        lines.append(f"| {said} | {cell(base, *row)} | **{cell(report, *row)}** | {least} |")
    return "\n".join([*lines, WANTED_END])


def write_block(page: Path, new: str) -> None:
    """Put a block in place of the one that is in the page; its marks are its ends."""
    text = page.read_text(encoding="utf-8")
    opening, *_, closing = new.splitlines()
    before, begin, rest = text.partition(opening)
    _old, end, after = rest.partition(closing)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the figures: {opening} and {closing}")
    page.write_text(f"{before}{new}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--page", type=Path, help="Markdown with blocks for the figures")
    parser.add_argument("--base", type=Path, help="the evaluation of the untrained base")
    parser.add_argument("--limit", type=int, default=200, help="held-out items to ask")
    options = parser.parse_args()
    checkpoint = options.checkpoint.resolve()
    out = checkpoint.with_name(f"{checkpoint.name}-evaluation") / fingerprint(checkpoint)
    with serving(checkpoint, checkpoint.with_name(f"{checkpoint.name}-service")) as url:
        evaluate_pocket(url, checkpoint.name, out, options.limit)
    personadual("evaluate", "card", out, checkpoint)
    if options.page is not None:
        write_block(options.page, block(load_card(checkpoint)[0]))
        if options.base is not None:
            reports = (json.loads((at / "report.json").read_bytes()) for at in (out, options.base))
            write_block(options.page, wanted(*reports))


if __name__ == "__main__":
    main()
