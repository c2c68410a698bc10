"""A checkpoint's figures: `python -m benchmarks.figures runs/pocket --page model/pocket/README.md`.

Serves it, evaluates it on the held-out Pocket set, and writes what came out into its card and into
a block of the page. An evaluation that was stopped goes on; what was asked once is not asked again.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from benchmarks.served import evaluate, personadual, serving
from model.card import Card, load_card

BEGIN = "<!-- figures of the card; `python -m benchmarks.figures` writes them -->"
END = "<!-- end of the figures -->"
SAID = {
    "mode_agreement": "mode as the item's kind asks",
    "personalized_accuracy": "personal questions right, aligned persona",
    "accuracy_no_persona": "facts right, no persona",
    "accuracy_aligned": "facts right, aligned persona",
    "accuracy_unaligned": "facts right, unaligned persona",
    "accuracy_injected": "facts right, persona with orders and a false claim",
    "adoption": "that claim answered, beyond chance, points",
    "interference": "interference: none minus unaligned, points",
    "regret": "regret: better forced mode minus the chosen one, points",
    "swap_invariance": "same general answer after the persona is swapped, facts",
    "calibration_error": "expected calibration error of the probability, of 100",
}


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


def write_block(page: Path, card: Card) -> None:
    """Put the card's figures in the place of those that stand in the page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _old, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the figures: {BEGIN} and {END}")
    page.write_text(f"{before}{block(card)}{behind}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--page", type=Path, help="Markdown with a block for the figures")
    parser.add_argument("--limit", type=int, default=200, help="held-out items to ask")
    options = parser.parse_args()
    checkpoint = options.checkpoint.resolve()
    out = checkpoint.with_name(f"{checkpoint.name}-evaluation") / fingerprint(checkpoint)
    with serving(checkpoint, checkpoint.with_name(f"{checkpoint.name}-service")) as url:
        evaluate(url, checkpoint.name, out, options.limit)
    personadual("evaluate", "card", out, checkpoint)
    if options.page is not None:
        write_block(options.page, load_card(checkpoint)[0])


if __name__ == "__main__":
    main()
