"""Commands whose modules are imported when they are named: help and completion answer at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ENTRY_POINTS = "personadual.commands"
"""Training brings its commands itself: this side does not know it (design 3)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a `typer.Typer` is, and what the list of commands says of it meanwhile."""

    module: str
    help: str

    def load(self) -> typer.Typer:
        found: typer.Typer = import_module(self.module).app
        return found


PLACES: Mapping[str, Place] = {
    "ask": Place("app.commands.ask", "Ask a gateway, and see which mode the answer took."),
    "status": Place("app.commands.status", "Show how a gateway does, on one screen."),
    "doctor": Place("app.commands.doctor", "Check this machine, and say what to fix."),
    "persona": Place("app.commands.persona", "Write, read, import and export personas."),
    "key": Place("app.commands.key", "Make, list and revoke API keys."),
    "config": Place("app.commands.config", "Check files that a gateway reads."),
}


class LazyGroup(TyperGroup):
    """The commands of `PLACES` and of entry points, beside those that are there already."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*PLACES, *super().list_commands(ctx), *_brought()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if place := PLACES.get(cmd_name):
            return TyperCommand(cmd_name, help=place.help)
        if brought := _brought().get(cmd_name):
            return _command(cmd_name, brought.load())
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in PLACES:
            return args[0], _command(args[0], PLACES[args[0]].load()), args[1:]
        return super().resolve_command(ctx, args)


def _command(name: str, found: typer.Typer) -> Any:
    command = typer.main.get_command(found)
    command.name = name
    return command


@cache
def _brought() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=ENTRY_POINTS)}
