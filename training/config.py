"""Configurations: TOML files, read into these types before anything is loaded."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import PersonaDualError
from training.items import first_wrong

C = TypeVar("C", bound="Config")


class ConfigInvalid(PersonaDualError):
    """A configuration that cannot be run."""


class Config(BaseModel):
    """What every recipe needs; paths count from the folder in which the command is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path
    data: Path
    out: Path
    seed: int = 42
    use_cpu: bool = False
    bf16: bool = False


class SftConfig(Config):
    """SFT; the defaults are the paper's, but for what a LoRA needs (design 5)."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=16)] = 4096
    max_items: Annotated[int, Field(ge=1)] | None = None
    forced: Annotated[float, Field(ge=0, le=1)] = 0.4
    lora_rank: Annotated[int, Field(ge=1)] = 16
    save_steps: Annotated[int, Field(ge=1)] = 100


def load_config(path: Path, kind: type[C]) -> C:
    """Read a configuration.

    Raises:
        ConfigInvalid: it cannot be read, a field is unknown or wrong, or a file that it names is
            missing.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{path} is not TOML: {error}") from error
    try:
        config = kind.model_validate(content)
    except ValidationError as error:
        raise ConfigInvalid(f"{path}: {first_wrong(error)}") from error
    for name in ("model", "data"):
        if not getattr(config, name).exists():
            raise ConfigInvalid(f"{path}: {name}: {getattr(config, name)} is not there")
    return config
