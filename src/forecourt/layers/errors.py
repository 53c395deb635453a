"""Errors: one log line and one problem+json for what nobody handled.

Outermost of the stack. An exception from below is logged once, with its traceback (types and places; what exceptions
say may be secret, and is logged only with `Telemetry(exception_messages=True)`); if nothing was sent yet and the app
has no handler or debug page of its own for it, the caller gets a 500 problem without any detail; then it is raised
again, as Starlette does, so that servers and test clients see it (a filter keeps the server's log from repeating ours).
A 5xx that the handler answered by itself is logged as an error too.
Turned on by being in the stack; it has no policy field and asks no store.
"""

import logging
from contextlib import suppress

from forecourt.exchange import Exchange, exchange_of
from forecourt.redaction import without_words
from forecourt.responses import INTERNAL_ERROR
from forecourt.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("forecourt")

_SERVER_LOGGERS = ("uvicorn.error", "hypercorn.error", "_granian")
_LOGGED = "__forecourt_logged__"


class ErrorsLayer:
    """Logs what nobody handled and answers where nobody does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        for name in _SERVER_LOGGERS:
            logging.getLogger(name).addFilter(_not_logged_yet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; log and answer what comes back as an exception, then raise it again."""
        exchange = exchange_of(scope)
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            _log_once(error, exchange, scope["state"])
            if exchange.status is None and not _app_answers(scope):
                await exchange.refuse(INTERNAL_ERROR)(scope, receive, send)
            raise
        if exchange.status is not None and exchange.status >= 500 and exchange.refused is None:
            logger.error("%s answered %d", _named(exchange), exchange.status)


def _log_once(error: Exception, exchange: Exchange, call: object) -> None:
    """Log an error once for each call, also where that call passed through stacks of several configs."""
    if getattr(error, _LOGGED, None) is not call:
        with suppress(AttributeError):
            setattr(error, _LOGGED, call)
        told = error if exchange.runtime.config.telemetry.exception_messages else without_words(error)
        logger.error("%s failed: %s", _named(exchange), type(error).__name__, exc_info=told)


def _named(exchange: Exchange) -> str:
    """Name the endpoint, never the path: paths may hold what logs must not."""
    return f"endpoint {exchange.endpoint.name!r}" if exchange.endpoint else "an unknown endpoint"


def _app_answers(scope: Scope) -> bool:
    """Whether Starlette's outermost middleware, outside of us, will answer this exception in the app's own way."""
    app = scope.get("app") if scope["type"] == "http" else None
    handlers = getattr(app, "exception_handlers", None) or {}
    return bool(getattr(app, "debug", False)) or 500 in handlers or Exception in handlers


def _not_logged_yet(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return getattr(error, _LOGGED, None) is None
