"""Logging: JSON lines in a service, rich on a terminal; every line with the run it belongs to, none with a secret.

The context (integration, account, job, run id, generation) is bound to the thread that works for it and added to every
record logged meanwhile, those of other libraries included. The scrubber goes over the finished line, traceback and
all, so nothing that any library formats can slip past it.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from worker.clock import rfc3339
from worker.redact import MASK, TELLING_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.redact import Scrubber

_context: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar("worker_log_context", default={})  # noqa: B039 - never mutated

#: What every record carries by itself; the rest is what somebody passed as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """Add these to every line that this thread logs within the block."""
    token = _context.set({**_context.get(), **values})
    try:
        yield
    finally:
        _context.reset(token)


def bind(**values: object) -> None:
    """Add these for the rest of the innermost `bound` block; without one, do nothing."""
    if _context.get():
        _context.set({**_context.get(), **values})


class _AddContext(logging.Filter):
    """Puts the bound context on the record, in the thread that logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _context.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def _json_formatter(scrubber: Scrubber) -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - not needed on a terminal

    class ScrubbedJson(JsonFormatter):
        """One JSON object a line: time, level, logger, message, then the context and the facts."""

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            data = super().process_log_record(log_data)
            return {name: _scrubbed(name, value, scrubber) for name, value in data.items()}

        def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
            super().add_fields(log_data, record, message_dict)
            log_data["time"] = rfc3339(record.created)
            log_data.pop("taskName", None)

    return ScrubbedJson(
        "{time}{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        json_default=str,
    )


def _scrubbed(name: str, value: Any, scrubber: Scrubber) -> Any:
    """A field without secrets; what is no plain value is scrubbed as the text it will become."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if name.lower() in TELLING_NAMES:
        return MASK
    if isinstance(value, str):
        return scrubber(value)
    try:
        return json.loads(scrubber(json.dumps(value, default=str)))
    except ValueError:
        return scrubber(str(value))


class _PlainFormatter(logging.Formatter):
    """One line for people: message first, then the facts as name=value."""

    def __init__(self, scrubber: Scrubber, *, with_time: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s" if with_time else "%(message)s")
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        # One by one: in a line of text, `state=succeeded` would read like the OAuth parameter.
        facts = " ".join(f"{name}={_scrubbed(name, value, self._scrubber)}" for name, value in _extras(record).items())
        text = self._scrubber(super().format(record))
        first, separator, rest = text.partition("\n")
        return f"{first}  {facts}{separator}{rest}" if facts else text


def configure(scrubber: Scrubber, *, level: str, style: str, stream: TextIO) -> None:
    """Send all logging to `stream`. `style` is `json`, `text`, or `auto`: text on a terminal, JSON elsewhere."""
    terminal = stream.isatty()
    handler: logging.Handler
    if style == "json" or (style == "auto" and not terminal):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_json_formatter(scrubber))
    elif terminal:
        from rich.console import Console  # noqa: PLC0415 - only for people
        from rich.logging import RichHandler  # noqa: PLC0415 - only for people

        # rich draws tracebacks itself when asked to; ours are in the text, where they are scrubbed.
        handler = RichHandler(console=Console(file=stream), show_path=False, rich_tracebacks=False, markup=False)
        handler.setFormatter(_PlainFormatter(scrubber, with_time=False))
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_PlainFormatter(scrubber, with_time=True))
    handler.addFilter(_AddContext())
    root = logging.getLogger()
    # In one step: a reload while others log must neither lose a line nor write one twice.
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its own lines say when it wakes us; that is noise below debug.
    logging.getLogger("apscheduler").setLevel(
        max(logging.WARNING, root.level) if root.level > logging.DEBUG else logging.DEBUG
    )
    # Rate limiter chatter, likewise.
    logging.getLogger("pyrate_limiter").setLevel(logging.WARNING)
    # A dozen lines at the first start that say what our own line says.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    _log_uncaught()


def _log_uncaught() -> None:
    """Errors that nobody caught become log lines, scrubbed like all others, instead of bare tracebacks on stderr."""
    log = logging.getLogger("worker")

    def in_thread(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_type is not SystemExit and hook.exc_value is not None:
            log.critical("a thread died", exc_info=(hook.exc_type, hook.exc_value, hook.exc_traceback))

    def in_main(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("the process died", exc_info=(kind, error, trace))

    threading.excepthook = in_thread
    sys.excepthook = in_main


def warn_config(place: str, what: str) -> None:
    """A doubtful setting, as a warning in the log."""
    logging.getLogger("worker.config").warning("doubtful setting", extra={"place": place, "problem": what})
