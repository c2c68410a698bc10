"""The commands `personadual train ...`."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from model.console import console, errors, reported
from training import processes
from training.config import DualGrpoConfig, SftConfig, load_config

train_app = typer.Typer(help="Train a checkpoint as a TOML file says.", no_args_is_help=True)

GOES_ON = "stopped; the same command goes on from the last checkpoint"
ConfigFile = Annotated[Path, typer.Argument(help="TOML file; `configs/` has examples.")]


@train_app.callback()
def train() -> None:
    """Train a checkpoint as a TOML file says."""


@train_app.command()
def sft(config: ConfigFile) -> None:
    """Teach both modes and the choice between them; a killed run goes on when called again."""
    with reported(GOES_ON):
        _quieten()
        read = load_config(config, SftConfig)
        # The recipe brings torch along: after the configuration is known to be right.
        from training import sft as recipe

        console.print(f"  trained: {recipe.train(read, console)}")


@train_app.command("dual-grpo")
def dual_grpo(config: ConfigFile) -> None:
    """Reinforce both modes and the choice; a killed run goes on when called again."""
    with reported(GOES_ON):
        _quieten()
        read = load_config(config, DualGrpoConfig)
        _hear_of_vllm(is_used=read.generation != "transformers")
        from training import dual_grpo as recipe

        console.print(f"  trained: {recipe.train(read, console)}")


@train_app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder; its card is rewritten.")],
    data: Annotated[Path, typer.Argument(help="Items (JSONL) that were not trained on.")],
    count: Annotated[int, typer.Option(min=20, help="How many items, from the file's end.")] = 400,
    seed: Annotated[
        int, typer.Option(help="Decides which half is fitted and which is measured.")
    ] = 42,
) -> None:
    """Turn the model's log-odds of a mode into a probability, on items that it has not seen."""
    with reported():
        _quieten()
        from training import calibrate as recipe

        with console.status("reading the checkpoint") as status:

            def note(read: int, of: int) -> None:
                status.update(f"reading the choice: {read} of {of} prompts")

            fitted, error = recipe.calibrate(model, data, count=count, seed=seed, note=note)
        console.print(
            f"  slope {fitted.slope:.4f}, intercept {fitted.intercept:.4f};"
            f" expected calibration error {error:.4f} on the half that was not fitted"
        )


def _quieten() -> None:
    """Our own words, once, and of the libraries' only warnings that say something."""
    logging.basicConfig(level=logging.WARNING, format="  %(message)s")
    if processes.is_first():
        logging.getLogger("personadual").setLevel(logging.INFO)
    else:
        console.quiet = True
    errors.quiet = not processes.is_first_here()
    _hear_of_vllm(is_used=False)


def _hear_of_vllm(*, is_used: bool) -> None:
    """TRL warns of a vLLM that it has not tried: once, and where rollouts are sampled by it."""
    action: Literal["once", "ignore"] = "once" if is_used else "ignore"
    warnings.filterwarnings(action, message="TRL currently supports vLLM")
