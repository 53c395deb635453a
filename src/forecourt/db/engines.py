"""An engine of one database: connecting guarded by breaker and retries, statements timed and bounded.

Only connecting is guarded: a breaker that counted statements would be opened by one bad statement. With PostgreSQL a
connection is tried before it is used, so a database that is gone is found out there; the statement timeout of each
transaction is what is left of the deadline. With SQLite the deadline cancels whoever waits.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import cast

from forecourt.breakers import Breaker, whole_seconds
from forecourt.config_databases import Spent, Statements
from forecourt.core.breaker import Ended, Permit, Refused
from forecourt.core.retrying import Budget
from forecourt.db.alchemy import (
    AsyncEngine,
    Connection,
    Dialect,
    ExceptionContext,
    ExecutionContext,
    await_only,
    create_async_engine,
    event,
)
from forecourt.db.changes import watch
from forecourt.db.opened import TIMEOUT
from forecourt.db.visits import visiting
from forecourt.deadlines import current_deadline
from forecourt.errors import CircuitOpen, DatabaseDown
from forecourt.policies.database import Database
from forecourt.policies.quantities import exact, microseconds
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

_STARTED = "forecourt started"
_OPERATIONS = ("select", "insert", "update", "delete")


def opened(
    name: str, url: str, *, policy: Database, pool: int, clock: Clock, breaker: Breaker | None, statements: Statements
) -> AsyncEngine:
    """Return an engine that connects when it is first asked; `pool` connections at most."""
    server = url.startswith("postgresql")
    engine = create_async_engine(
        url,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=float(exact(policy.pool_timeout)),
        pool_pre_ping=server,
        hide_parameters=True,
        connect_args=_of_server(policy)
        if server
        else {"timeout": float(exact(policy.pool_timeout)), "async_creator_fn": _opened_whole},
        **({"isolation_level": policy.isolation} if policy.isolation else {}),
    )
    connecting = _Connecting(name, policy, clock, breaker)
    event.listen(engine.sync_engine, "do_connect", connecting.connect)
    event.listen(engine.sync_engine, "handle_error", connecting.failed)
    watch(engine)
    _time(engine, name, policy, statements)
    return engine


def _of_server(policy: Database) -> dict[str, object]:
    longest = str(microseconds(policy.timeout) // 1000 or 1)
    return {"timeout": float(exact(policy.connect_timeout)), "server_settings": {"statement_timeout": longest}}


async def _opened_whole(*args: object, **options: object) -> object:
    """Open a file's connection; where the caller is cancelled meanwhile, it is closed as soon as it is there.

    It is opened in a thread, which nobody's cancellation stops: what it opened would be left to the garbage collector.
    """
    from aiosqlite import connect  # noqa: PLC0415  # only where a database is a file

    opening = asyncio.ensure_future(_awaited(connect(*args, **options)))  # type: ignore[arg-type]  # as SQLAlchemy has them
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_closed)
        raise


async def _awaited(opening: Awaitable[object]) -> object:
    cast("Thread", getattr(opening, "_thread", opening)).daemon = True  # in older versions it is one itself
    return await opening


def _closed(opening: "asyncio.Future[object]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        closing = asyncio.ensure_future(opening.result().close())  # type: ignore[attr-defined]  # aiosqlite's own
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[object]] = set()
"""Held while they run: a loop knows its tasks weakly."""


class _Connecting:
    """Connects; once more where that fails, and not at all while the breaker is open."""

    def __init__(self, name: str, policy: Database, clock: Clock, breaker: Breaker | None) -> None:
        self._name = name
        self._clock = clock
        self._breaker = breaker
        retry = policy.retrying
        self._plan = retry.plan() if retry else None
        self._budget = Budget(retry.budget) if retry else None

    def connect(self, dialect: Dialect, _record: object, args: list[object], options: dict[str, object]) -> object:
        """Connect; DatabaseDown where that cannot be done."""
        if self._budget:
            self._budget.call()
        attempt = 1
        while True:
            try:
                return self._attempt(lambda: dialect.connect(*args, **options))
            except DatabaseDown:
                wait = self._wait(attempt)
                if wait is None:
                    raise
                await_only(self._clock.sleep(wait / SECOND))
                attempt += 1

    def _attempt(self, connect: Callable[[], object]) -> object:
        permit = self._breaker.admit() if self._breaker else None
        if type(permit) is Refused:
            raise CircuitOpen(self._name, whole_seconds(permit.wait))
        assert permit is None or type(permit) is Permit
        ended: Ended = "ignored"
        try:
            connection = connect()
            ended = "success"
        except Exception as error:
            if _is_refusal(error):
                raise  # a wrong password, a database that does not exist: nothing that waiting would heal
            ended = "failure"
            raise DatabaseDown(self._name, type(error).__name__) from error
        finally:
            if self._breaker:
                self._breaker.settle(permit, ended)
        return connection

    def _wait(self, attempt: int) -> int | None:
        deadline = current_deadline()
        left = None if deadline is None else int(deadline.remaining() * SECOND)
        if self._plan is None or self._budget is None:
            return None
        wait = self._plan.wait(attempt, random.random(), None, left)  # noqa: S311  # jitter
        return wait if isinstance(wait, int) and self._budget.take() else None

    def failed(self, context: ExceptionContext) -> None:
        """Count a connection that broke in the middle."""
        if self._breaker and context.is_disconnect and not context.is_pre_ping:
            permit = self._breaker.admit()
            if type(permit) is Permit:
                self._breaker.settle(permit, "failure")


def _is_refusal(error: Exception) -> bool:
    """Return whether the database answered, and would not let us in."""
    state = getattr(error, "sqlstate", None)
    return state is not None and not str(state).startswith(("08", "57P", "53"))


def _time(engine: AsyncEngine, name: str, policy: Database, statements: Statements) -> None:
    slow = int(exact(policy.slow) * 1_000_000_000)
    most = policy.queries

    def starting(
        connection: Connection, _cursor: object, text: str, _values: object, _context: object, _many: bool
    ) -> None:
        connection.info.setdefault(_STARTED, []).append((time.time_ns(), time.perf_counter_ns()))
        if (visit := visiting.get()) is not None and not text.startswith(TIMEOUT):
            visit.counted(name, most)

    def ended(
        connection: Connection,
        _cursor: object,
        text: str,
        _values: object,
        context: ExecutionContext | None,
        _many: bool,
    ) -> None:
        tell(connection, text, context, failed=False)

    def failed(error: ExceptionContext) -> None:
        if error.connection is not None and error.statement is not None:
            tell(error.connection, error.statement, error.execution_context, failed=True)

    def tell(connection: Connection, text: str, context: ExecutionContext | None, *, failed: bool) -> None:
        started = connection.info.get(_STARTED)
        if not started:
            return
        began, ticks = started.pop()
        took = time.perf_counter_ns() - ticks
        if (took < slow and not statements.listeners) or text.startswith(TIMEOUT):
            return
        visit = visiting.get()
        endpoint = visit.endpoint if visit else ""
        if took >= slow:
            logger.warning("slow: %.3f s in %r of endpoint %r: %s", took / 1e9, name, endpoint, text)
        operation = _operation(text, context)
        statements.tell(Spent(endpoint, name, operation, "failed" if failed else "ok", began, took, text))

    event.listen(engine.sync_engine, "before_cursor_execute", starting)
    event.listen(engine.sync_engine, "after_cursor_execute", ended)
    event.listen(engine.sync_engine, "handle_error", failed)


def _operation(text: str, context: ExecutionContext | None) -> str:
    if context is not None:
        for operation in ("insert", "update", "delete"):
            if getattr(context, f"is{operation}", False):
                return operation
    word = text.lstrip()[:6].lower()
    return word if word in _OPERATIONS else "other"
