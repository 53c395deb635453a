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
from forecourt.db.idempotency import Once, TakenError
from forecourt.db.visits import Visit, visiting
from forecourt.exchange import exchange_of
from forecourt.layers.idempotency_answers import UNKNOWN
from forecourt.layers.idempotency_transaction import TRANSACTION, Transaction
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
        transaction = exchange.notes.get(TRANSACTION)
        once = Once(visit, transaction) if isinstance(transaction, Transaction) else None
        call = _Call(visit, scope, receive, send, once)
        token = visiting.set(visit)
        try:
            if once is not None and (kept := await once.kept()):
                call.begun = True
                return await kept(scope, receive, send)
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

    __slots__ = ("_held", "_once", "_receive", "_replaced", "_scope", "_send", "_visit", "begun")

    def __init__(self, visit: Visit, scope: Scope, receive: Receive, send: Send, once: Once | None) -> None:
        self._once = once
        self._held: list[Message] = []
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
        if self._once is not None and not self.begun and not await self._whole(self._once, message):
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

    async def _whole(self, once: Once, message: Message) -> bool:
        """Hold what is sent until the record can be written; send it then, but for this last message."""
        once.recorder.see(message)
        if not once.enough:
            self._held.append(message)
            return False
        if not self._held:
            return True
        status = once.recorder.status or 500
        if self._visit.sessions and not await self._end(status):
            return False
        self.begun = True
        held, self._held = self._held, []
        for each in held:
            await self._send(each)
        return True

    async def _end(self, status: int) -> bool:
        """End the transactions; return whether the handler's answer holds."""
        if status >= 400:
            await self._visit.rollback()
            return True
        try:
            if self._once is not None:
                await self._once.write()
            await self._visit.commit()
        except TakenError:
            await self._visit.rollback()
            return await self._give_first()
        except Exception as error:
            if (problem := problem_of(error)) is None:
                raise
            await self._visit.rollback()
            await self.answer(problem, error)
            return False
        return True

    async def _give_first(self) -> bool:
        """Give the answer of the transaction that was first; no answer of this one holds."""
        assert self._once is not None
        self._replaced = True
        kept = await self._once.kept()
        if kept is None:  # it ended in this very moment
            kept = self._visit.exchange.refuse(UNKNOWN)
        await kept(self._scope, self._receive, self._send)
        return False

    async def answer(self, problem: Problem, error: Exception) -> None:
        """Answer for a database that failed, without a word of its own."""
        self._replaced = True
        level = logging.WARNING if problem.status >= 500 else logging.INFO
        logger.log(level, "a database failed endpoint %r: %s", self._visit.endpoint, type(error).__name__)
        renderer = self._visit.exchange.runtime.renderer
        await Refusal(problem, renderer=renderer)(self._scope, self._receive, self._send)
