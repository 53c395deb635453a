"""Databases: the sessions of each call, committed or rolled back with its answer, and the answers for what failed.

It is there where the config names `databases`, innermost but for the handler's check; it has no policy field and asks
no store, but for callers who may read a replica. A handler's sessions are committed when its answer begins, if that is
below 400, before its first byte leaves: a commit that fails is answered instead. They are rolled back for answers of
400 and more, for exceptions and for cancellation. What is done after the answer has begun (in a stream, in a background
task) is committed by nobody else: use `async with session()` there. WebSockets commit when their handler returns.

Errors of a database that a handler does not catch become problems (`failures`); the layers above see the status, so a
breaker counts a 503, and a retry tries a deadlock again, where the endpoint's policy allows. It is an answer of the
handler's, no refusal.
"""

import logging

from forecourt.db.databases import Databases
from forecourt.db.failures import problem_of
from forecourt.db.visits import Visit, visiting
from forecourt.exchange import exchange_of
from forecourt.layers.invalidates import SAFE
from forecourt.layers.messages import BEGINNINGS
from forecourt.responses import Problem, Refusal
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")


class DatabasesLayer:
    """Stands around one endpoint's handler (none named: a job's); `replicas`: its reads may be answered by one."""

    def __init__(self, app: ASGIApp, *, endpoint: str, databases: Databases, replicas: bool) -> None:
        self.app = app
        self._endpoint = endpoint
        self._databases = databases
        self._replicas = replicas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on, and end what the handler has begun."""
        reads = self._replicas and scope.get("method") in SAFE
        exchange = exchange_of(scope)
        name = self._endpoint or (exchange.endpoint.name if exchange.endpoint else "")
        visit = Visit(self._databases, exchange, name, reads=reads)
        call = _Call(self, visit, scope, receive, send)
        token = visiting.set(visit)
        try:
            await self.app(scope, receive, call.send)
            if scope["type"] == "websocket":
                await visit.commit()
        except Exception as error:
            problem = problem_of(error)
            if problem is None or call.begun:
                raise
            await call.answer(problem, error)
        finally:
            visiting.reset(token)
            if visit.sessions:
                await visit.close()


class _Call:
    """One call under way: whether its answer has begun, and whether another was given in its place."""

    __slots__ = ("_layer", "_receive", "_replaced", "_scope", "_send", "_visit", "begun")

    def __init__(self, layer: DatabasesLayer, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        self._layer = layer
        self._visit = visit
        self._scope = scope
        self._receive = receive
        self._send = send
        self._replaced = False
        self.begun = False

    async def send(self, message: Message) -> None:
        """Pass on; before the answer begins, commit or roll back."""
        if self._replaced:
            return
        if not self.begun and message["type"] in BEGINNINGS:
            if (
                self._visit.sessions
                and message["type"] != "websocket.accept"
                and not await self._end(message["status"])
            ):
                return
            self.begun = True
        await self._send(message)

    async def _end(self, status: int) -> bool:
        """End the transactions; return whether the handler's answer holds."""
        if status >= 400:
            await self._visit.rollback()
            return True
        try:
            await self._visit.commit()
        except Exception as error:
            if (problem := problem_of(error)) is None:
                raise
            await self._visit.rollback()
            await self.answer(problem, error)
            return False
        return True

    async def answer(self, problem: Problem, error: Exception) -> None:
        """Answer for a database that failed, without a word of its own."""
        self._replaced = True
        level = logging.WARNING if problem.status >= 500 else logging.INFO
        logger.log(level, "a database failed endpoint %r: %s", self._visit.endpoint, type(error).__name__)
        renderer = self._visit.exchange.runtime.renderer
        await Refusal(problem, renderer=renderer)(self._scope, self._receive, self._send)
