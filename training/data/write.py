"""Files of a build: parquet for any trainer, items (JSONL) for ours, and BUILD.md.

| file | rows |
|---|---|
| `sft-train.parquet`, `sft-validation.parquet` | the columns of SFT_COLUMNS |
| `rl-train.parquet`, `rl-validation.parquet` | the columns of RL_COLUMNS |
| `items.jsonl`, `items-validation.jsonl` | the same, as SFT items |
| `rl-items.jsonl`, `rl-items-validation.jsonl` | the same, as RL items, without traces |

Each item carries the condition of its row, so that our trainer trains the rows of the parquet.
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
from training.data.assign import Split, assigned, assigned_rl
from training.data.ledger import Ledger
from training.data.recipe import Recipe
from training.data.teacher import Meter
from training.items import Condition, DataInvalid, Item, messages, save_items, write_reply

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
        for side, end in (("train", ""), ("validation", "-validation")):
            items = assigned(getattr(sft, side), recipe.seed)
            prompts = assigned_rl(getattr(rl, side), recipe.no_persona, recipe.seed)
            for stage, name, mine, row in (
                ("sft", "items", items, _sft),
                ("rl", "rl-items", prompts, _rl),
            ):
                table = f"{stage}-{side}.parquet"
                counts[table] = _parquet([row(one, card) for one in mine], recipe.out / table)
                save_items(mine, recipe.out / f"{name}{end}.jsonl")
                counts[f"{name}{end}.jsonl"] = len(mine)
    except OSError as error:
        raise DataInvalid(f"{recipe.out} cannot be written: {error.strerror or error}") from error
    return counts


def _sft(item: Item, card: Card) -> dict[str, Any]:
    condition = _condition(item)
    return {
        "prompt": messages(item, condition, card.prompt),
        "completion": write_reply(item.traces[item.mode], card.tags[item.mode]),
        "mode": item.mode.value,
        "item_id": item.id,
        "condition": condition.value,
    }


def _rl(item: Item, card: Card) -> dict[str, Any]:
    condition = _condition(item)
    return {
        "prompt": messages(item, condition, card.prompt),
        "answers": item.answers,
        "match": item.match,
        "mode": item.mode.value,
        "kind": item.kind.value,
        "item_id": item.id,
        "condition": condition.value,
    }


def _condition(item: Item) -> Condition:
    assert item.condition is not None, "it is assigned"
    return item.condition


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
