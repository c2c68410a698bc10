"""The command `personadual ask ...`: one question, its answer as it streams, and its decision."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.status import Status

from app.commands.gateway import DEFAULT_URL, AsJson, Gateway, Key, Url
from model.console import console, errors, harmless, piped, reported
from model.errors import GatewayUnavailable
from model.mode import Isolation, ModeWish

app = typer.Typer()
CHAT = "/v1/chat/completions"
SILENCE_S = 600.0
MODE_STYLE = {"general": "cyan", "personalized": "magenta"}


@dataclass
class Heard:
    """An answer as far as it has come. Times are seconds from the request."""

    answer: str = ""
    reasoning: str = ""
    decision: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    first_text_s: float | None = None
    seconds: float = 0.0
    request_id: str | None = None


User = Annotated[str | None, typer.Option(help="Whose persona.")]
Mode = Annotated[
    ModeWish | None,
    typer.Option(help="Let the model decide, or force a mode."),
]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Probability at or above which it is personalised."),
]
Isolated = Annotated[
    Isolation | None,
    typer.Option(help="strict: a general answer never saw the persona."),
]
Text = Annotated[
    str | None,
    typer.Option(help="The persona's text itself, for this question alone."),
]
Model = Annotated[
    str | None,
    typer.Option(help="The model or an alias; else what the gateway serves."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Longest answer."),
]
Temperature = Annotated[
    float | None,
    typer.Option(min=0, help="0: always the same answer."),
]


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    user: User = None,
    mode: Mode = None,
    threshold: Threshold = None,
    isolation: Isolated = None,
    persona: Text = None,
    model: Model = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="Show the reasoning too, dimmed.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Ask a gateway, and see which mode the answer took and how sure the model was.

    The answer goes to standard output as it streams, the line about it to standard error.
    """
    extension = {"mode": mode, "threshold": threshold, "isolation": isolation, "persona": persona}
    wanted = {
        "user": user,
        "model": model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "personadual": _given(extension),
    }
    with reported():
        asked = piped() if question == "-" else question
        body = {"stream": True, "messages": [{"role": "user", "content": asked}], **_given(wanted)}
        gateway = Gateway(url, key)
        with errors.status("asking …") as waiting:
            heard = _listen(gateway, body, waiting, is_shown=not as_json, shows_thought=reasoning)
        if as_json:
            typer.echo(json.dumps({**heard.decision, **_less_decision(heard)}, ensure_ascii=False))
            return
        errors.print(summary(heard), soft_wrap=True)


def _listen(
    gateway: Gateway, body: dict[str, Any], waiting: Status, *, is_shown: bool, shows_thought: bool
) -> Heard:
    heard = Heard()
    begun = time.monotonic()
    response = gateway.open("POST", CHAT, json.dumps(body).encode(), limit_s=SILENCE_S)
    heard.request_id = response.headers.get("x-request-id")
    for chunk in _chunks(gateway, gateway.lines(response)):
        heard.decision = chunk.get("personadual") or heard.decision
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            said = delta.get("content") or ""
            heard.finish_reason = choice.get("finish_reason") or heard.finish_reason
            if (thought or said) and heard.first_text_s is None:
                heard.first_text_s = time.monotonic() - begun
            if is_shown:
                _show(heard, thought, said, waiting, shows_thought=shows_thought)
            heard.reasoning += thought
            heard.answer += said
    heard.seconds = time.monotonic() - begun
    if is_shown:
        console.print()
    return heard


def _show(heard: Heard, thought: str, said: str, waiting: Status, *, shows_thought: bool) -> None:
    """Show what comes behind what was heard: a last piece of thought may bear the first answer."""
    thought = thought if shows_thought else ""
    if thought or said:
        waiting.stop()  # it would write over the text
    if thought:
        errors.print(f"[dim]{escape(harmless(thought))}[/dim]", end="", soft_wrap=True)
    text = harmless(said)
    if not heard.answer.strip():
        text = text.lstrip()
        if text and shows_thought and (heard.reasoning or thought):
            errors.print()  # a terminal shows both streams, in one line
    if text:
        console.print(text, end="", markup=False, soft_wrap=True)


def _chunks(gateway: Gateway, lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line == b"data: [DONE]":
            return
        if line.startswith(b"data: "):
            yield gateway.parsed(line[6:])
    raise GatewayUnavailable(f"the answer of {gateway.url} broke off")


def summary(heard: Heard) -> str:
    """One line about an answer, in rich's markup."""
    decision = heard.decision
    mode = decision.get("mode")
    style = MODE_STYLE.get(mode or "", "yellow")
    parts = [f"[bold {style}]{escape(mode or 'no mode')}[/]"]
    if (probability := decision.get("probability")) is not None:
        parts.append(f"p(personalized) {probability:.3f}")
    if source := decision.get("source"):
        rule = decision.get("rule")
        parts.append(f"by {escape(source)}{f' ({escape(rule)})' if rule else ''}")
    persona = decision.get("persona") or {}
    named = persona.get("id")
    version = f" v{persona['version']}" if persona.get("version") else ""
    owner = f"{escape(named)}{version} " if named else ""
    parts.append(f"persona {owner}{escape(persona.get('status', '-'))}")
    if heard.first_text_s is not None:
        parts.append(f"first text {heard.first_text_s:.2f} s")
    parts.append(f"{heard.seconds:.2f} s")
    if heard.finish_reason == "length":
        parts.append("[yellow]cut at --max-tokens[/]")
    return " [dim]·[/] ".join(parts)


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value not in (None, {})}


def _less_decision(heard: Heard) -> dict[str, Any]:
    return {name: value for name, value in asdict(heard).items() if name != "decision"}
