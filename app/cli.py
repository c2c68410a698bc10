"""The command `personadual`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from app.commands.lazy import LazyGroup
from app.serve.whereabouts import DATA, pocket_folder
from model.console import console, errors, reported
from model.errors import CheckpointInvalid

if TYPE_CHECKING:
    from app.serve.stack import Stack
    from app.settings import Auth

app = typer.Typer(
    cls=LazyGroup,
    help="Serve a model that answers with a persona, or without it, and says which.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="Build and inspect checkpoints.", no_args_is_help=True)
app.add_typer(model_app, name="model")

EXAMPLE = """
[bold]PersonaDual answers at {url}[/bold]   (docs: {url}/docs)
{door}
Try it:

  curl -s {url}/v1/chat/completions{header} -d '{{"messages": {ask}}}'

or, in Python (.venv/bin/python):

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  client.put("/personas/ada", body={{"text": "Ada is vegan."}}, cast_to=object)
  reply = client.chat.completions.create(model="{model}", user="ada", messages={ask})
  print(reply.personadual, reply.choices[0].message.content)

Ctrl-C ends it. Logs and personas are in {data}.
"""
OPEN = (
    "There are no API keys yet: only this machine is served. Make one: personadual key create NAME"
)
SHUT = "API keys are asked for: personadual key list shows them."
OFF = "API keys are switched off: whoever reaches this address is served."
FIRST = "API keys are asked for. The first one may do everything, and is shown this once:\n  {key}"
ASK = '[{"role": "user", "content": "What should I cook?"}]'

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
GatewayPort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Gateway processes.")]
ContextTokens = Annotated[
    int, typer.Option(min=256, help="Longest context that the engine takes, in tokens.")
]
EngineOptions = Annotated[
    list[str], typer.Option(help="Passed on to vLLM as it is; may be repeated.")
]
LOOPBACK = "127.0.0.1"
POCKET = pocket_folder(DATA)


@app.command()
def serve(
    host: Host = LOOPBACK,
    port: GatewayPort = 8080,
    data: Annotated[
        Path, typer.Option(help="Folder for personas, logs and the default checkpoint.")
    ] = DATA,
    model: Annotated[
        Path | None,
        typer.Option(help="Checkpoint folder to serve; without it Pocket is built and served."),
    ] = None,
    workers: Workers = 1,
    max_model_len: ContextTokens = 4096,
    engine_option: EngineOptions = [],  # noqa: B006 - typer copies it
) -> None:
    """Start Redis, the engine and the gateway, and end them together.

    With PERSONADUAL_REDIS_URL or PERSONADUAL_ENGINE_URL set, those are used instead of its own.
    """
    # Imported here, so that help and completion answer at once.
    from app.serve.reload import reloadable
    from app.serve.stack import Stack, Stopped, Wish, stoppable
    from app.settings import read_settings, unknown_variables

    wish = Wish(host, port, workers, data, model, max_model_len, tuple(engine_option))
    with reported():
        settings = read_settings()
        for line in unknown_variables():
            errors.print(f"[yellow]{escape(line)}[/yellow]", soft_wrap=True)
        stack = Stack(wish, settings, _step)
        # The clean-up is within: a second Ctrl-C does not cut it short.
        with stoppable(), reloadable(stack) if settings.policy else contextlib.nullcontext():
            try:
                begun = time.monotonic()
                stack.start()
                console.print(f"ready after {time.monotonic() - begun:.0f} s")
                console.print(_example(stack, settings.auth), soft_wrap=True)
                stack.watch()
            except Stopped:
                console.print("ending")
            finally:
                stack.close()


def _example(stack: Stack, auth: Auth) -> str:
    """What a user needs to know of a service that is ready."""
    key = stack.first_key or ("pd-..." if stack.asks_keys else "none")
    if stack.first_key:
        door = FIRST.format(key=key)
    else:
        door = SHUT if stack.asks_keys else OFF if auth == "off" else OPEN
    return EXAMPLE.format(
        url=stack.url,
        model=stack.model_name(),
        data=escape(str(stack.data)),
        ask=ASK,
        key=key,
        door=door,
        header=f" -H 'Authorization: Bearer {key}'" if stack.asks_keys else "",
    )


@app.command()
def gateway(
    host: Host = LOOPBACK,
    port: GatewayPort = 8080,
    workers: Workers = 1,
) -> None:
    """Become the gateway alone, over PERSONADUAL_ENGINE_URL and PERSONADUAL_REDIS_URL."""
    from app.serve import gateway as launcher
    from app.settings import read_settings

    with reported():
        launcher.check(read_settings())  # what is wrong with them is said in one line
        launcher.become(launcher.Listen(host, port, workers), launcher.scratch())


@app.command()
def engine(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the engine.")] = 8000,
    data: Annotated[Path, typer.Option(help="Folder of the default checkpoint.")] = DATA,
    model: Annotated[
        Path | None,
        typer.Option(help="Checkpoint folder to load; without it Pocket is built and loaded."),
    ] = None,
    max_model_len: ContextTokens = 4096,
    engine_option: EngineOptions = [],  # noqa: B006 - typer copies it
) -> None:
    """Become the engine alone: vLLM with the gate. For engines apart from their gateway."""
    from app.serve import engine as launcher

    with reported():
        folder = launcher.checkpoint(model, data)
        launcher.become(
            launcher.Launch(folder, port, max_model_len, host, options=tuple(engine_option))
        )


@model_app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(help="Where the checkpoint goes.")] = POCKET,
    force: Annotated[bool, typer.Option(help="Build again where one is built already.")] = False,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Leave the adapter out: the base for a training.")
    ] = False,
) -> None:
    """Build Pocket, the default checkpoint, from installed packages; no network is used."""
    from model.pocket import build as pocket

    with reported():
        if pocket.is_built(folder, is_trained=not untrained) and not force:
            console.print(f"{folder} is built already")
            return
        with _step("Pocket"):
            say = lambda line: console.print(f"  {line}")  # noqa: E731
            pocket.build(folder, say, is_trained=not untrained)
        console.print(f"built {folder}")


@model_app.command("export")
def export(
    adapter: Annotated[Path, typer.Argument(help="Folder of a trained adapter.")],
    folder: Annotated[Path, typer.Argument(help="Where the checkpoint goes.")],
    base: Annotated[
        Path | None,
        typer.Option(help="The adapter's base; without it the one that the adapter names."),
    ] = None,
) -> None:
    """Merge an adapter into its base: a checkpoint with its card, ready for vLLM."""
    from model import export as recipe

    with reported():
        with _step(f"{folder}"):
            recipe.export(adapter, folder, base, lambda line: console.print(f"  {line}"))
        console.print(f"written {folder}; calibrate it: personadual train calibrate {folder} ITEMS")


@model_app.command("card")
def card(folder: Annotated[Path, typer.Argument(help="A checkpoint folder.")]) -> None:
    """Show the model card of a checkpoint, defaults included, and whether it is well formed."""
    from model.card import load_card

    with reported():
        if not folder.is_dir():
            raise CheckpointInvalid(f"{folder} is not a folder: name that of a checkpoint")
        found, warning = load_card(folder)
        if warning:
            errors.print(f"[yellow]{escape(warning)}[/yellow]")
        typer.echo(found.to_json(), nl=False)  # a console would break its lines


@app.command("version")
def show_version(as_json: AsJson = False) -> None:
    """Show the version."""
    found = version("personadual")
    typer.echo(json.dumps({"version": found}) if as_json else found)


@contextlib.contextmanager
def _step(text: str) -> Iterator[None]:
    """Say what is being done, and afterwards how long it took."""
    begun = time.monotonic()
    with console.status(f"{text} …"):
        if not console.is_terminal:
            console.print(f"  … {text}")
        yield
    console.print(f"  [green]✓[/green] {text} ({time.monotonic() - begun:.1f} s)")


def main() -> None:
    app()
