"""Recipe: what a build reads, whom it asks and what it writes; a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from training.config import ConfigInvalid, read_config

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Price = Annotated[float, Field(ge=0)]
# TOML has no null.
NoneByName = BeforeValidator(lambda value: None if value == "none" else value)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rows(_Part):
    """Where rows come from: local files (`*.json`, `*.jsonl`, `*.parquet`; wildcards in the name)
    or a data set that `datasets.load_dataset` finds. Paths count from the working directory."""

    files: tuple[Path, ...] = ()
    datasets: str | None = None
    subset: str | None = None
    split: str = "train"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.files) == bool(self.datasets):
            raise ValueError("name either files or datasets")
        return self

    def paths(self) -> list[Path]:
        """The files, wildcards followed; one that is not there stays in the list."""
        found: list[Path] = []
        for path in self.files:
            found += sorted(path.parent.glob(path.name)) or [path]
        return found


class Source(Rows):
    """Questions of one kind, and how many of them go where.

    `sft_general` and `sft_personalized` are SFT rows in that mode; `rl` are other questions, whose
    mode the training forces both ways. `spread`: tasks as large as they are in the source, or all
    alike. A task is left out if its name begins with one of `exclude_tasks`; with `tasks`, only
    those are read.
    """

    kind: Literal["alignx", "ultramedical", "flan", "megascience"]
    name: str = ""
    sft_general: Count = 0
    sft_personalized: Count = 0
    rl: Count = 0
    spread: Literal["proportional", "even"] = "proportional"
    tasks: tuple[str, ...] = ()
    exclude_tasks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name or self.kind

    @property
    def quota(self) -> int:
        return self.sft_general + self.sft_personalized + self.rl

    @model_validator(mode="after")
    def _can_be_general(self) -> Self:
        if self.kind == "alignx" and self.sft_general:
            raise ValueError("sft_general: what AlignX asks has no answer without its persona")
        return self


class TestSet(Rows):
    """Questions that no training row may overlap with, in one or several fields of its rows."""

    name: str
    split: str = "test"
    fields: Annotated[tuple[str, ...], Field(min_length=1)] = ("question",)


class TeacherSettings(_Part):
    """A model behind an OpenAI-compatible endpoint.

    `retries` are the client's own, for time-outs, 429 and 5xx; `tries` is how often a reply that
    cannot be used is asked for. `give_up_after` failed or refused requests in a row end the build.
    `extra` goes into the request's body as it is. `temperature` and `max_tokens` are not sent where
    they are None, in TOML "none": reasoning models may refuse them.
    """

    url: str
    model: str
    api_key_env: str | None = None
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
    retries: Annotated[int, Field(ge=0, le=20)] = 4
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    give_up_after: Annotated[int, Field(ge=1)] = 20
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    temperature: Annotated[Annotated[float, Field(ge=0, le=2)] | None, NoneByName] = 0.0
    max_tokens: Annotated[Annotated[int, Field(ge=16)] | None, NoneByName] = 2048
    max_trace_words: Annotated[int, Field(ge=10)] = 80
    usd_per_million_prompt_tokens: Price = 0.0
    usd_per_million_completion_tokens: Price = 0.0
    extra: dict[str, Any] = {}

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password:
            raise ValueError("must hold no credentials; name the key by api_key_env or --api-key")
        return url


class Recipe(_Part):
    """A build. `model` is a checkpoint folder whose card gives prompt and tags; without it they
    are the defaults. `no_persona`: for this share of the objective RL questions there is one more
    row, under no persona.
    """

    out: Path
    seed: int = 42
    model: Path | None = None
    validation: Share = 0.05
    no_persona: Share = 0.25
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    personas: Rows
    test_sets: tuple[TestSet, ...] = ()
    teacher: TeacherSettings

    @model_validator(mode="after")
    def _has_names(self) -> Self:
        titles = [source.title for source in self.sources]
        if len(set(titles)) < len(titles):
            raise ValueError("sources: two have the same name")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigInvalid: it cannot be read, or a field is unknown or wrong.
    """
    return read_config(path, Recipe)


def check_files(recipe: Recipe, path: Path) -> None:
    """See that every file is there.

    Raises:
        ConfigInvalid: one is not; it names the field.
    """
    named: list[tuple[str, Rows]] = [
        *((f"sources.{n}.files", rows) for n, rows in enumerate(recipe.sources)),
        ("personas.files", recipe.personas),
        *((f"test_sets.{n}.files", rows) for n, rows in enumerate(recipe.test_sets)),
    ]
    for field, rows in named:
        for file in rows.paths():
            if not file.is_file():
                raise ConfigInvalid(f"{path}: {field}: {file} is not there")
    if recipe.model is not None and not recipe.model.is_dir():
        raise ConfigInvalid(f"{path}: model: {recipe.model} is not there")
