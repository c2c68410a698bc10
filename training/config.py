"""Configurations: TOML files, read into these types before anything is loaded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.checkpoint import require_checkpoint
from model.errors import CheckpointInvalid, PersonaDualError
from model.export import ADAPTER_CONFIG
from model.mode import Mode
from model.toml import read_toml
from model.validation import describe
from training.credit import DualAdvantageConfig

CHECKPOINT_ADVICE = "name the folder of one, of an adapter after personadual model export"
C = TypeVar("C", bound="Config")
M = TypeVar("M", bound=BaseModel)


class ConfigInvalid(PersonaDualError):
    """A configuration that cannot be run."""

    code = "config_invalid"


class Config(BaseModel, ABC):
    """What every recipe needs; paths count from the folder in which the command is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path
    data: Path
    out: Path
    seed: int = 42
    use_cpu: bool = False
    bf16: bool = False
    chat_template_kwargs: dict[str, Any] = {}
    """For the chat template, beside those in the cards of base and adapter; the trained card has
    them too."""
    max_items: Annotated[int, Field(ge=1)] | None = None
    save_steps: Annotated[int, Field(ge=1)] = 100
    adapter: Path | None = None
    """A LoRA of `model` that is trained on."""
    lora_rank: Annotated[int, Field(ge=1)] | None = None
    """Of a new one. Without both, all weights are trained."""
    probe: Path | None = None
    """Held-out items on which the un-forced choice of the mode is watched."""
    probe_items: Annotated[int, Field(ge=2)] = 64
    probe_every: Annotated[int, Field(ge=1)] = 50

    @property
    @abstractmethod
    def longest(self) -> int:
        """Tokens of the longest row, which the model's context must hold."""

    @property
    def is_adapter(self) -> bool:
        """Whether a LoRA is trained, and not all weights."""
        return self.adapter is not None or self.lora_rank is not None

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if self.adapter is not None and self.lora_rank is not None:
            raise ValueError("adapter and lora_rank: name one of them")
        return self


class SftConfig(Config):
    """SFT; the defaults are the paper's, but for what a LoRA needs (design 5).

    `rows` per step, over all processes; `batch_size` of them in one forward pass.
    """

    epochs: Annotated[float, Field(gt=0)] = 1.0
    rows: Annotated[int, Field(ge=1)] = 16
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    max_length: Annotated[int, Field(ge=16)] = 4096
    forced: Annotated[float, Field(ge=0, le=1)] = 0.4
    """The share of items that is trained in the mode that they do not ask for, too."""
    paired: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of general rows under a persona that is trained under the item's other one, too."""
    invariance: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the divergence between the two rows of such a pair (`training/invariance.py`).
    """
    only_mode: Mode | None = None
    """Trains every item in this mode alone: what a model without the choice would be. No rows are
    paired then."""

    @property
    def longest(self) -> int:
        return self.max_length

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.invariance and (not self.paired or self.only_mode is not None):
            raise ValueError(
                "invariance needs paired, the share of rows that stand in pairs, and no only_mode"
            )
        if self.invariance and self.batch_size % 2:
            raise ValueError("invariance needs an even batch_size: a pair is read in one pass")
        return self


class DualGrpoConfig(Config):
    """DualGRPO; the defaults are the paper's.

    `rollouts` per prompt, half of them in each mode; `prompts` per step; `batch_size` rows in one
    forward pass. `generation`: transformers' own, vLLM in the same process (`colocate`), or vLLM
    behind `server_url`.
    """

    rollouts: Annotated[int, Field(ge=2, multiple_of=2)] = 8
    prompts: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 8
    epochs: Annotated[float, Field(gt=0)] = 5.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    kl: Annotated[float, Field(ge=0)] = 0.04
    temperature: Annotated[float, Field(gt=0)] = 0.6
    max_prompt: Annotated[int, Field(ge=16)] = 2048
    max_response: Annotated[int, Field(ge=16)] = 1024
    forced_tags: bool = True
    """False: TRL's plain GRPO, whose rollouts choose their mode themselves; `dual` is not read."""
    dual: DualAdvantageConfig = DualAdvantageConfig()
    generation: Literal["transformers", "colocate", "server"] = "transformers"
    server_url: str | None = None
    vllm_memory: Annotated[float, Field(gt=0, le=1)] = 0.3

    @property
    def longest(self) -> int:
        return self.max_prompt + self.max_response

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.generation == "server" and not self.server_url:
            raise ValueError('generation = "server" needs server_url, that of `trl vllm-serve`')
        for name, needed in (("server_url", "server"), ("vllm_memory", "colocate")):
            if name in self.model_fields_set and self.generation != needed:
                raise ValueError(f'{name} is for generation = "{needed}"')
        return self


def load_config(path: Path, kind: type[C]) -> C:
    """Read a configuration, and see that it can be run.

    Raises:
        ConfigInvalid: it cannot be read, a field is unknown or wrong, a file that it names is
            missing, `model` is no checkpoint, or its rows are longer than the model's context.
    """
    config = read_config(path, kind)
    pocket = f"for Pocket: personadual model build --untrained {config.model}"
    try:
        require_checkpoint(config.model, f"{CHECKPOINT_ADVICE} ({pocket})")
    except CheckpointInvalid as error:
        raise ConfigInvalid(f"{path}: model: {error.message}") from error
    for name in ("data", "probe", "adapter"):
        named: Path | None = getattr(config, name)
        if named is not None and not named.exists():
            raise ConfigInvalid(f"{path}: {name}: {named} is not there")
    if config.adapter is not None and not (config.adapter / ADAPTER_CONFIG).is_file():
        raise ConfigInvalid(
            f"{path}: adapter: {config.adapter} holds no adapter (no {ADAPTER_CONFIG})"
        )
    context = _context(config.model)
    if context is not None and config.longest > context:
        raise ConfigInvalid(
            f"{path}: rows of up to {config.longest} tokens, but the model's context holds"
            f" {context}; lower the limits"
        )
    return config


def read_config(path: Path, kind: type[M]) -> M:
    """Read a configuration; what it names need not be there.

    Raises:
        ConfigInvalid: it cannot be read, or a field is unknown or wrong.
    """
    content = read_toml(path, ConfigInvalid)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigInvalid(f"{path}: {describe(error)}") from error


def _context(model: Path) -> int | None:
    """Tokens of the model's context, where its `config.json` says so."""
    try:
        content = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = content.get("max_position_embeddings")
    return found if isinstance(found, int) else None
