"""The data folder of `personadual serve`: where Pocket and its own Redis are in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model.pocket import NAME

if TYPE_CHECKING:
    from app.settings import Settings

DATA = Path(".personadual")
"""The data folder where `--data` names none."""
_FILE = "redis.url"


def private_folder(path: Path) -> Path:
    """Make a folder, or take the one that is there, for its user's eyes alone: Redis writes
    personas into files that all may read."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def pocket_folder(data: Path) -> Path:
    """Where the default checkpoint lies in a data folder, built or not."""
    return data / "models" / NAME


def note_redis(data: Path, url: str) -> Path:
    """Write down the URL of serve's own Redis in its data folder; for its user's eyes alone."""
    path = data / _FILE
    path.touch(mode=0o600)
    path.write_text(url, encoding="utf-8")
    return path


def redis_url(settings: Settings, data: Path) -> str:
    """The Redis that was set, else that of the folder's `personadual serve`, else the default."""
    path = data / _FILE
    if "redis_url" not in settings.model_fields_set and path.is_file():
        return path.read_text(encoding="utf-8")
    return settings.redis_url.get_secret_value()
