"""Logs: every line of this process on standard error, as JSON or for a reader at a terminal.

Modules go on using the standard library's loggers; here their records, those of uvicorn and of
every other library are rendered by structlog. A line has `time`, `level`, `logger` and `event`, and
within a request `request_id` and, where it is traced, `trace_id`.

No line carries what a user said. So an exception is rendered without the values of variables, and
without its text, unless that is the interpreter's own.
"""

from __future__ import annotations

import builtins
import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import Stack, extract
from structlog.typing import EventDict, Processor

from app.settings import LogFormat, read_settings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
FACTS = "facts"
"""What a record carries beside its text, as `extra={FACTS: {...}}`: fields of the line."""
MAX_FRAMES = 30

# What the interpreter says, and the system: names of types and files, no values.
_PLAIN = (TypeError, AttributeError, NameError, ImportError, OSError, IndexError, ArithmeticError)
_PLAIN_NAMES = frozenset(
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, _PLAIN)
)
# They write by handlers of their own until they are told otherwise.
_OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access")


def set_up(form: LogFormat) -> None:
    """Send every record of this process to standard error, in one form."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers = [handler]
    for name in _OTHERS:
        other = logging.getLogger(name)
        if other.handlers:  # else it is switched off, or has a parent
            other.handlers, other.propagate = [], True
    logging.captureWarnings(True)


def formatter(form: LogFormat | None = None) -> ProcessorFormatter:
    """Renders records of the standard library; the form is the setting's where none is given."""
    form = read_settings().log_format if form is None else form
    is_console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and sys.stderr.isatty())
    return ProcessorFormatter(
        foreign_pre_chain=[_add_context, _add_exception],
        processors=[ProcessorFormatter.remove_processors_meta, *_rendered(is_console)],
    )


def _rendered(is_console: bool) -> list[Processor]:
    if not is_console:
        return [structlog.processors.JSONRenderer(_to_json)]
    has_colors = sys.stderr.isatty()
    console = structlog.dev.ConsoleRenderer(
        colors=has_colors, timestamp_key="time", sort_keys=False, pad_event_to=0
    )
    return [_exception_as_text, console]


def _to_json(line: EventDict, **_options: Any) -> str:
    try:
        return orjson.dumps(line).decode()
    except TypeError:  # a half of a character, or what is no JSON
        return json.dumps(line, default=repr)


def _add_context(_logger: Any, level: str, line: EventDict) -> EventDict:
    record: logging.LogRecord = line["_record"]
    if record.name == "asyncio":
        # Behind the first line it shows the task, its result and so what an answer held.
        line["event"] = line["event"].partition("\n")[0]
    line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    line["level"] = level
    line["logger"] = record.name
    for name, value in (("request_id", request_id.get()), ("trace_id", trace_id.get())):
        if value is not None:
            line[name] = value
    line.update(getattr(record, FACTS, {}))
    line.pop("stack_info", None)
    return line


def _add_exception(_logger: Any, _level: str, line: EventDict) -> EventDict:
    error = line.pop("exc_info", None)
    if error and error[0] is not None:
        stacks = extract(*error, show_locals=False).stacks
        line["exception"] = [_harmless(stack) for stack in stacks]
    return line


def _harmless(stack: Stack) -> dict[str, Any]:
    """One exception of a chain, without what may be a user's words."""
    frames = stack.frames[-MAX_FRAMES:]
    told: dict[str, Any] = {"type": stack.exc_type}
    if stack.exc_type in _PLAIN_NAMES:
        told["text"] = stack.exc_value
    told["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    if stack.exceptions:
        told["group"] = [[_harmless(one) for one in trace.stacks] for trace in stack.exceptions]
    return told


def _exception_as_text(_logger: Any, _level: str, line: EventDict) -> EventDict:
    if "exception" in line:
        parts = [
            "\n".join([f"{part['type']}: {part.get('text', '...')}", *part["frames"]])
            for part in line["exception"]
        ]
        line["exception"] = "\nfrom ".join(parts).replace("\n", "\n    ")
    return line
