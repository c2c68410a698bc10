"""The processes of one run: `torchrun` or `accelerate launch` starts them, and tells each of them
by its environment which one it is."""

from __future__ import annotations

import os

from training.config import ConfigInvalid


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_launched() -> bool:
    """Whether a launcher started this one, if only by itself."""
    return "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Whether this is the one that speaks and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def is_first_here() -> bool:
    """Whether this is its machine's first one: what fails may fail on one machine alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def passes(rows: int, batch_size: int, said: str) -> int:
    """Forward passes of `batch_size` rows by which each process does its share of a step's `rows`.

    What a run learns so does not depend on how many processes it has. `said` names `rows` to who
    wrote the configuration.

    Raises:
        ConfigInvalid: the rows cannot be shared out evenly.
    """
    share = batch_size * count()
    if rows % share:
        raise ConfigInvalid(
            f"{said} = {rows} cannot be divided by batch_size x processes = {share}"
        )
    return rows // share
