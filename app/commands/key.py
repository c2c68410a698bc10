"""The commands `personadual key ...`: against Redis, so that the first key needs no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from app.access.key_schemas import KeyBody, KeyMade, KeyOut, KeyRevoked
from app.access.keys import ApiKey, KeyStore, Role, make_key
from app.serve.whereabouts import DATA, redis_url
from app.settings import Settings, read_settings
from model.console import console, errors, reported
from model.errors import InvalidRequest, StoreUnavailable, UnknownKey
from model.validation import first_wrong

# A store that does not answer is told in our own line, not in one for a log.
logging.getLogger("personadual.store").addHandler(logging.NullHandler())

T = TypeVar("T")
ANSWER_S = 5.0

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="Folder of `personadual serve`, to find its Redis.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
USUAL = (Role.CHAT, Role.PERSONAS)
_OPTIONS = {"name": "NAME", "roles": "--role"}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    tenant: Annotated[
        str | None,
        typer.Option(help="Whose personas it reaches; else the deployment's tenant."),
    ] = None,
    role: Annotated[
        list[Role] | None,
        typer.Option(help="What it may do; may be repeated.", show_default=", ".join(USUAL)),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="auto, general or personalized, where a request names none."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Threshold where a request names none."),
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option(help="shared or strict, where a request names none."),
    ] = None,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Let no request change mode, threshold or isolation.")
    ] = False,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(help="Most requests in a minute; without it there is no limit."),
    ] = None,
    tokens_per_minute: Annotated[
        int | None,
        typer.Option(help="Most tokens in a minute, prompts and answers; else no limit."),
    ] = None,
    concurrent: Annotated[
        int | None,
        typer.Option(help="Most requests at the same time; else no limit."),
    ] = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    dial: dict[str, Any] = {"mode": mode, "threshold": threshold, "isolation": isolation}
    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent": concurrent,
    }
    if fixed:
        dial["may_override"] = False
    with reported():
        settings = read_settings()
        body = _body(name=name, tenant=tenant, roles=role or USUAL, dial=dial, limits=limits)
        tenant = body.tenant or settings.tenant
        text, key = make_key(body.name, tenant, tuple(body.roles), body.dial, body.limits)
        _ask(settings, data, lambda keys: keys.create(key))
        if as_json:
            typer.echo(KeyMade.of(key, key=text).model_dump_json(exclude_none=True))
            return
        errors.print(f"made the key {key.id} of tenant {key.tenant}; it is shown this once:")
        typer.echo(text)


@app.command("list")
def list_keys(data: Data = DATA, as_json: AsJson = False) -> None:
    """List the keys, the oldest first."""
    with reported():
        keys = _ask(read_settings(), data, lambda keys: keys.list())
    if as_json:
        shown = [KeyOut.of(key).model_dump(mode="json", exclude_none=True) for key in keys]
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
        return
    if not keys:
        console.print("there are no keys; make one: personadual key create NAME")
        return
    table = Table(box=None)
    # Whatever the width, the id is whole: it is what `revoke` takes.
    table.add_column("id", no_wrap=True, min_width=max(len(key.id) for key in keys))
    for name in ("name", "tenant", "roles", "dial", "limits", "made"):
        table.add_column(name, overflow="fold")
    for key in keys:
        table.add_row(*map(escape, _row(key)))
    console.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id in `key list`, or the key itself.")],
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: no gateway takes it any more."""
    parts = key_id.split("-")
    key_id = parts[1] if parts[0] == "pd" and len(parts) > 1 else key_id
    with reported():
        if not _ask(read_settings(), data, lambda keys: keys.revoke(key_id)):
            raise UnknownKey("there is no key with this id: see personadual key list")
        if as_json:
            typer.echo(KeyRevoked(id=key_id, revoked=True).model_dump_json())
            return
        console.print(f"revoked {escape(key_id)}")


def _row(key: ApiKey) -> tuple[str, ...]:
    dial, limits = key.dial, key.limits
    dials = [
        *([str(dial.mode)] if dial.mode else []),
        *([f"≥ {dial.threshold}"] if dial.threshold is not None else []),
        *([str(dial.isolation)] if dial.isolation else []),
        *(["fixed"] if dial.may_override is False else []),
    ]
    amounts = (
        (limits.requests_per_minute, "requests/min"),
        (limits.tokens_per_minute, "tokens/min"),
        (limits.concurrent, "at once"),
    )
    shown = [f"{amount:,} {unit}" for amount, unit in amounts if amount is not None]
    roles = " ".join(key.roles)
    columns = (" ".join(dials) or "-", "\n".join(shown) or "-", key.created_at[:10])
    return (key.id, key.name, key.tenant, roles, *columns)


def _body(**fields: Any) -> KeyBody:
    try:
        return KeyBody.model_validate(fields)
    except ValidationError as error:
        where, said = first_wrong(error)
        raise InvalidRequest(f"{_option(where)}: {said}") from error


def _option(where: tuple[int | str, ...]) -> str:
    """What a user calls a field of the body."""
    field = str(where[1] if where[0] in ("dial", "limits") else where[0])
    return _OPTIONS.get(field) or f"--{field.replace('_', '-')}"


def _ask(settings: Settings, data: Path, question: Callable[[KeyStore], Awaitable[T]]) -> T:
    """Ask the keys of the Redis that the gateways use."""

    async def ask() -> T:
        url = redis_url(settings, data)
        from app.redis.store import RedisStore  # here, so that help answers at once

        store = RedisStore(url, timeout_s=ANSWER_S, retry_s=ANSWER_S)
        try:
            return await question(store.keys)
        finally:
            await store.close()

    try:
        return asyncio.run(ask())
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"no keys without Redis ({error.message}): start `personadual serve`, name its folder"
            " with --data, or set PERSONADUAL_REDIS_URL"
        ) from error
    except ValueError as error:
        raise InvalidRequest("PERSONADUAL_REDIS_URL is not a Redis URL") from error
