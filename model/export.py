"""Checkpoints, written whole: an adapter merged into its base, with its card, for vLLM."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from model.card import FILE_NAME, load_card, save_card
from model.checkpoint import CONFIG, require_checkpoint
from model.errors import CheckpointInvalid

ADAPTER_CONFIG = "adapter_config.json"


def export(
    adapter: Path,
    folder: Path,
    base: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Merge an adapter into its base and write the checkpoint to `folder`, whole or not at all.

    The base is the one that the adapter names, unless another is given. The card is the adapter's
    own, else the base's.

    Raises:
        CheckpointInvalid: there is no adapter or no base, or `folder` is something else.
        CardInvalid: the card is malformed.
    """
    base = base or _base_of(adapter)
    require_checkpoint(base, "name the adapter's base by --base")
    card, _warning = load_card(adapter if (adapter / FILE_NAME).is_file() else base)
    refuse_foreign(folder)
    if folder.resolve() == base.resolve():
        raise CheckpointInvalid(f"{folder} is the adapter's own base; name another")
    # Heavy imports stay here: `personadual --help` must not wait for torch.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with whole(folder) as work:
        say(f"reading {base}")
        network = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        say("merging the adapter")
        merged = merge(network, adapter)
        say("writing the checkpoint")
        merged.save_pretrained(work)
        AutoTokenizer.from_pretrained(base).save_pretrained(work)
        save_card(card, work)


def merge(network: Any, adapter: Path) -> Any:
    """The network with the adapter's changes in its own weights."""
    from peft import PeftModel

    return PeftModel.from_pretrained(network, adapter).merge_and_unload()


def refuse_foreign(folder: Path) -> None:
    """Overwrite a checkpoint with a card, but nothing else: an adapter has a card, too.

    Raises:
        CheckpointInvalid: `folder` has a content that is no checkpoint of ours, or it or what it
            would lie in is a file.
    """
    place = folder.resolve()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    if not nearest.is_dir():
        raise CheckpointInvalid(f"{nearest} is no folder; name another")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not ((folder / FILE_NAME).is_file() and (folder / CONFIG).is_file()):
        raise CheckpointInvalid(f"{folder} is not empty and holds no checkpoint; name another")


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` if the block succeeds.

    Of a link it takes the place of what the link names. The former one is removed last: what is
    killed or fails before leaves one of the two whole.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    former = work.with_name(f"{work.name}-former")
    try:
        yield work
        work.chmod(0o755)
        for path in work.rglob("*"):  # several chat templates lie in a folder of their own
            path.chmod(0o755 if path.is_dir() else 0o644)
        if folder.exists():
            folder.rename(former)
        os.replace(work, folder)
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        for left in (work, former):
            shutil.rmtree(left, ignore_errors=True)


def _base_of(adapter: Path) -> Path:
    path = adapter / ADAPTER_CONFIG
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except FileNotFoundError as error:
        raise CheckpointInvalid(
            f"{adapter} holds no {ADAPTER_CONFIG}: it is not an adapter"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointInvalid(
            f"{path} names no base_model_name_or_path; name the base by --base"
        ) from error
