"""Checkpoint: whether a folder holds one, in Hugging Face's format. Asked before it is loaded:
for a folder that holds none the libraries ask a hub."""

from __future__ import annotations

from pathlib import Path

from model.errors import CheckpointInvalid

CONFIG = "config.json"


def require_checkpoint(folder: Path, advice: str) -> None:
    """See that there is one; `advice` says what to do where there is none.

    Raises:
        CheckpointInvalid: there is none.
    """
    if not folder.is_dir():
        raise CheckpointInvalid(f"{folder} is not there; {advice}")
    if not (folder / CONFIG).is_file():
        raise CheckpointInvalid(f"{folder} holds no checkpoint (no {CONFIG}); {advice}")
