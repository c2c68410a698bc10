"""TOML files that people write."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from model.errors import PersonaDualError


def read_toml(path: Path, refusal: type[PersonaDualError]) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        refusal: it cannot be read, or is not TOML; the message says where.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refusal(f"{path} is not TOML: {error}") from error
