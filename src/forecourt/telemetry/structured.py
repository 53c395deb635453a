"""Logs by structlog: the access log's lines, the context that handlers' own loggers see, and a setup for all of them.

Where an app has configured structlog, access events go to its logger `forecourt.access`, through its processors.
Where it has not, or where the config says how and where to log, they go through two processors of ours to a stream.
"""

import json
import logging
import os
import sys
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars, merge_contextvars, reset_contextvars

from forecourt.policies.telemetry import Telemetry
from forecourt.redaction import redacted
from forecourt.types import SECOND

__all__ = ["AccessLog", "RequestContext", "bound", "configure_logging", "unbound"]

_fast: Callable[..., bytes] | None = None
"""orjson's, which comes with the extra; without it the standard library's does too."""
with suppress(ImportError):
    from orjson import dumps as _fast


def _encode(event: object) -> bytes:
    if _fast is not None:
        return _fast(event, default=str)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


Format = Literal["auto", "json", "console"]
Event = MutableMapping[str, Any]
Processor = Callable[..., str | Event]

Tokens = tuple[Token[Any], ...]


def _variable(name: str) -> ContextVar[Any]:
    """Return the context variable that structlog keeps a field in."""
    tokens = bind_contextvars(**{name: ""})
    reset_contextvars(**tokens)
    return tokens[name].var


_REQUEST_ID, _ENDPOINT, _TRACE_ID = _variable("request_id"), _variable("endpoint"), _variable("trace_id")


def bound(request_id: str, endpoint: str, trace_id: str | None) -> Tokens:
    """Bind these for every line logged in this context; returns what `unbound` takes."""
    tokens = (_REQUEST_ID.set(request_id), _ENDPOINT.set(endpoint))
    return tokens if trace_id is None else (*tokens, _TRACE_ID.set(trace_id))


def unbound(tokens: Tokens) -> None:
    """Bind again what was bound before, unless its context is gone: a dropped coroutine is closed in another."""
    try:
        for token in tokens:
            token.var.reset(token)
    except ValueError:
        return


class AccessLog:
    """Writes one event per request, as `Telemetry` says; JSON by ourselves, as there are many and they are flat."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._ours_only = telemetry.log_format != "auto" or telemetry.log_to != "stderr"
        self._format = telemetry.log_format
        self._theirs = structlog.get_logger("forecourt.access")
        self._sink = _Sink(telemetry.log_to)
        self._text = _console()
        self._second = -1
        self._written = ""

    def write(self, now: int, fields: Mapping[str, object]) -> None:
        """Log a request that ended at `now`, in µs since the epoch."""
        if not self._ours_only and structlog.is_configured():
            self._theirs.info("request", **fields)
        elif self._format == "console" or (self._format == "auto" and self._sink.readable()):
            event: Event = {"timestamp": self._time(now), "level": "info", "event": "request", **fields}
            self._sink.msg(cast("str", self._text(None, "info", event)))
        else:
            self._sink.line(_encode({"timestamp": self._time(now), "level": "info", "event": "request", **fields}))

    def _time(self, now: int) -> str:
        """Return the time as ISO 8601; its second is the same for many lines."""
        second, rest = divmod(now, SECOND)
        if second != self._second:
            self._second = second
            self._written = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._written}.{rest:06}+00:00"


class RequestContext(logging.Filter):
    """For handlers of the standard library: puts `request_id`, `endpoint` and `trace_id` on records ("-": none)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its request's fields on it."""
        known = get_contextvars()
        for name in ("request_id", "endpoint", "trace_id"):
            setattr(record, name, known.get(name, "-"))
        return True


def configure_logging(log_format: Format = "auto", level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Log everything of this process in one form: structlog's loggers and the standard library's, on one stream.

    Every line has the request's fields, a time and a level; fields with secret names are redacted. `auto` is readable
    where a terminal reads, else JSON. Replaces the handlers of the root logger and structlog's configuration.
    """
    sink = _Sink("stderr", stream)
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    last = _last(log_format, sink)
    handler = _StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.processors.StackInfoRenderer(), *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )


class _Sink:
    """A logger that writes lines: to a stream, to one of the standard streams as it is then, or to a file.

    A file is appended to in one write for each line, so that several workers may share it.
    """

    def __init__(self, target: str, stream: TextIO | None = None) -> None:
        self._target = target
        self._stream = stream
        self._file: int | None = None

    def readable(self) -> bool:
        """Tell whether a terminal reads."""
        stream = self._open()
        return stream is not None and stream.isatty()

    def msg(self, line: str) -> None:
        """Write one line."""
        self.line(line.encode("utf-8", "replace"))

    def line(self, line: bytes) -> None:
        """Write one line that is encoded."""
        stream = None if self._file is not None else self._open()
        if stream is not None:
            stream.write(line.decode() + "\n")
            stream.flush()
            return
        if self._file is None:
            self._file = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            weakref.finalize(self, os.close, self._file)
        os.write(self._file, line + b"\n")

    debug = info = warning = error = critical = exception = log = msg

    def _open(self) -> TextIO | None:
        if self._stream is not None:
            return self._stream
        return {"stdout": sys.stdout, "stderr": sys.stderr}.get(self._target)


class _StreamHandler(logging.Handler):
    def __init__(self, sink: _Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.msg(self.format(record))
        except Exception:  # noqa: BLE001  # as all handlers do: what cannot be logged stops nobody
            self.handleError(record)


def _last(log_format: Format, sink: _Sink) -> list[Processor]:
    """Return how a line is made: exceptions as text where it is JSON; the console shows them by itself."""
    if log_format == "console" or (log_format == "auto" and sink.readable()):
        return [_console()]
    return [structlog.processors.format_exc_info, _json()]


def _json() -> Processor:
    def render(_logger: object, _name: str, event: Event) -> str:
        return _encode(event).decode()

    return render


def _console() -> Processor:
    return cast("Processor", structlog.dev.ConsoleRenderer(colors=False))


def _redact(_logger: object, _name: str, event: Event) -> Event:
    return cast("Event", redacted(event))
