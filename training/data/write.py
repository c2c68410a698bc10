"""Files of a build: parquet for any trainer, items (JSONL) for ours, and BUILD.md.

| file | rows |
|---|---|
| `sft-train.parquet`, `sft-validation.parquet` | the columns of SFT_COLUMNS |
| `rl-train.parquet`, `rl-validation.parquet` | the columns of RL_COLUMNS |
| `items.jsonl`, `items-validation.jsonl` | SFT items |
| `rl-items.jsonl`, `rl-items-validation.jsonl` | RL items, without traces |

`prompt` is a list of `{role, content}`; `completion` is a reply with its tag (design 4.2).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.card import Card
from training.data.assign import Row, Split, rl_rows, sft_rows
from training.data.ledger import Ledger
from training.data.recipe import Recipe
from training.data.teacher import Meter
from training.items import DataInvalid, messages, save_items, write_reply

SFT_COLUMNS = ("prompt", "completion", "mode", "item_id", "condition")
RL_COLUMNS = ("prompt", "answers", "match", "mode", "kind", "item_id", "condition")
PACKAGES = ("personadual", "openai", "pyarrow", "datasets")


def write(sft: Split, rl: Split, recipe: Recipe, card: Card) -> dict[str, int]:
    """Write rows and items; returns the number of rows by file.

    Raises:
        DataInvalid: a file cannot be written.
    """
    counts: dict[str, int] = {}
    try:
        recipe.out.mkdir(parents=True, exist_ok=True)
        for side, items in (("train", sft.train), ("validation", sft.validation)):
            rows = [_sft(row, card) for row in sft_rows(items, recipe.seed)]
            counts[f"sft-{side}.parquet"] = _parquet(rows, recipe.out / f"sft-{side}.parquet")
        for side, items in (("train", rl.train), ("validation", rl.validation)):
            rows = [_rl(row, card) for row in rl_rows(items, recipe.no_persona, recipe.seed)]
            counts[f"rl-{side}.parquet"] = _parquet(rows, recipe.out / f"rl-{side}.parquet")
        for name, items in (
            ("items.jsonl", sft.train),
            ("items-validation.jsonl", sft.validation),
            ("rl-items.jsonl", rl.train),
            ("rl-items-validation.jsonl", rl.validation),
        ):
            save_items(items, recipe.out / name)
            counts[name] = len(items)
    except OSError as error:
        raise DataInvalid(f"{recipe.out} cannot be written: {error.strerror or error}") from error
    return counts


def _sft(row: Row, card: Card) -> dict[str, Any]:
    item, condition = row
    return {
        "prompt": messages(item, condition, card.prompt),
        "completion": write_reply(item.traces[item.mode], card.tags[item.mode]),
        "mode": item.mode.value,
        "item_id": item.id,
        "condition": condition.value,
    }


def _rl(row: Row, card: Card) -> dict[str, Any]:
    item, condition = row
    return {
        "prompt": messages(item, condition, card.prompt),
        "answers": item.answers,
        "match": item.match,
        "mode": item.mode.value,
        "kind": item.kind.value,
        "item_id": item.id,
        "condition": condition.value,
    }


def _parquet(rows: Sequence[dict[str, Any]], path: Path) -> int:
    """Write rows with a schema that does not depend on them: a file without rows has it too."""
    import pyarrow
    import pyarrow.parquet as parquet

    text = pyarrow.string()
    message = pyarrow.struct([("role", text), ("content", text)])
    kinds = {"prompt": pyarrow.list_(message), "answers": pyarrow.list_(text)}
    names = SFT_COLUMNS if path.name.startswith("sft") else RL_COLUMNS
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in names])
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path)
    return len(rows)


def write_report(
    recipe: Recipe, ledger: Ledger, meter: Meter, counts: dict[str, int], journal: Path
) -> Path:
    """BUILD.md: what was built of what. No date, so that the same build writes the same bytes."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    files = [
        f"| {name} | {count} | {_digest(recipe.out / name)} |" for name, count in counts.items()
    ]
    settings = recipe.model_dump(mode="json", exclude_defaults=True)
    # What goes into the request's body may be private to an endpoint.
    settings["teacher"].pop("extra", None)
    lines = [
        "# Build",
        "",
        f"Seed {recipe.seed}; teacher {recipe.teacher.model}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items()),
        "",
        f"The journal ({_digest(journal)}) gave {meter.replies} replies: {meter.prompt_tokens}"
        f" prompt and {meter.completion_tokens} completion tokens,"
        f" {meter.usd(recipe.teacher):.2f} USD at the recipe's prices.",
        "",
        "| file | rows | sha256 |",
        "|---|---|---|",
        *files,
        "",
        "## Kept and dropped",
        "",
        ledger.markdown(),
        "",
        "## Use",
        "",
        "`items.jsonl` is the `data` of `personadual train sft`, `rl-items.jsonl` that of"
        " `personadual train dual-grpo`. The paper trains no forced rows: `forced = 0`.",
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(settings, indent=2, ensure_ascii=False),
        "```",
        "",
    ]
    path = recipe.out / "BUILD.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
