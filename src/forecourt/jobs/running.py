"""Runs jobs through the app they came from: below the policies that let them in, as the principal who called.

A job's request goes to the same app, below the stack: its own inner middlewares, its router, its handler. There it
has an exchange of its own, so that `request.state.forecourt` is there, with the principal restored; nothing is asked
of the store again. The endpoint must still be the one that was resolved when the job was published.
"""

import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from forecourt.config import ResolvedPolicy
from forecourt.errors import StoreError
from forecourt.exchange import Exchange
from forecourt.jobs.counting import JobMetrics
from forecourt.jobs.envelope import JobRequest
from forecourt.jobs.queue import Record
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.status import JobEndpoints
from forecourt.jobs.tracing import ATTEMPT, Attempted, JobSpans, said_of
from forecourt.jobs.webhooks import Deliveries
from forecourt.jobs.worker import Notes
from forecourt.layers.errors import ErrorsLayer
from forecourt.layers.handler import HandlerLayer
from forecourt.layers.offload import owner_of
from forecourt.routing import Endpoint, RouteTable
from forecourt.runtime import Runtime
from forecourt.stores.contract import Question
from forecourt.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("forecourt")

_REMEMBERED = 90 * 86_400_000_000
"""µs that a refund's id is known for, so that it is given once."""


_queues: weakref.WeakKeyDictionary[Runtime, JobQueues] = weakref.WeakKeyDictionary()


class JobRunner:
    """The jobs of one stack: its queues, and the app that runs them."""

    def __init__(self, runtime: Runtime, app: ASGIApp) -> None:
        self.queues = queues_of(runtime)
        self.table: RouteTable | None = None
        """Compiled by the stack, anew when the app's routes have changed."""
        self.spans: JobSpans | None = None
        """Where spans of jobs come from, where jobs are traced; set by the stack, as the table is."""
        self._observed: frozenset[str] = frozenset()
        self._runtime = runtime
        self._app = app
        self._state: dict[str, Any] = {}
        self._starlette: object | None = None
        self._metrics = JobMetrics(runtime.config, self.queues)
        webhooks = runtime.config.webhooks
        self.deliveries = Deliveries(self.queues, webhooks, runtime.clock) if webhooks else None
        """Tells callers of their jobs' ends; None where the config has no webhooks."""
        runtime.config.jobs.bind(JobEndpoints(self.queues, owner_of))

    def trace(self, observed: Sequence[tuple[Endpoint | None, ResolvedPolicy]]) -> None:
        """Trace the jobs of these endpoints, those whose policies say so, from now on."""
        self._observed = frozenset(each.name for each, policy in observed if each is not None and policy.tracing)

    def location(self, table: RouteTable) -> str | None:
        """Return the path template of a job's status in this app; None where it is not mounted."""
        shown = self._runtime.config.jobs.shown.endpoint
        return next((endpoint.path for endpoint in table.endpoints if endpoint.handler == shown), None)

    async def open(self, scope: Scope) -> None:
        """Connect the queues that are used, and begin to work on those of this process."""
        self._starlette = scope.get("app")
        if scope["type"] == "lifespan":
            self._state = scope.get("state") or {}
        await self.queues.open(self.run, self.ended)

    async def close(self) -> None:
        """Let the jobs of this process come to their end, and disconnect."""
        await self.queues.close()

    async def run(
        self, request: JobRequest, scope: Scope, receive: Receive, send: Send, told: Callable[[Notes], None]
    ) -> None:
        """Run one request below the stack; the caller reads the exchange's notes as they come."""
        if request.delivery is not None:
            assert self.deliveries is not None, "the config has no webhooks any more"
            return await self.deliveries.run(request, send)
        assert self.table is not None, "jobs are run once the app has started"
        scope["state"] = dict(self._state)
        if self._starlette is not None:
            scope["app"] = self._starlette
        exchange = Exchange(self._runtime, scope)
        exchange.principal = request.principal
        exchange.entered.append(self)
        exchange.endpoint, exchange.params = self.table.resolve(scope)
        if exchange.endpoint is None or exchange.endpoint.name != request.endpoint:
            raise RuntimeError(f"a job for {request.endpoint!r}, which this app has no more at that path")
        told(exchange.notes)
        table, endpoint = self.table, exchange.endpoint
        handler = HandlerLayer(self._app, endpoint=endpoint, ran=lambda ran: table.ran(endpoint, ran))
        with self._traced(exchange, endpoint):
            await exchange.run(ErrorsLayer(handler), receive, send)

    async def ended(self, request: JobRequest, record: Record, status: int) -> None:
        """Give back what a job cost, where its outcome is to cost nothing, once; and tell its caller."""
        self._metrics.ended(record)
        await self._refund(request, record, status)
        if request.callback is not None and self.deliveries is not None:
            await self.deliveries.ended(record, request.callback)

    @contextmanager
    def _traced(self, exchange: Exchange, endpoint: Endpoint) -> Iterator[None]:
        """Have an attempt's span around it, where its endpoint is traced."""
        attempted: Attempted | None = exchange.scope.get(ATTEMPT)
        if self.spans is None or attempted is None or endpoint.name not in self._observed:
            yield
            return
        queue = attempted.job.partition(".")[0]
        said = said_of(queue, self.queues.address(queue), attempted.job, endpoint.name, "process")
        said |= {"http.route": endpoint.path, "forecourt.job.attempt": attempted.number}
        attempt = self.spans.attempt(f"process {queue}", said, exchange.scope)
        if attempt is None:
            yield
            return
        with attempt:
            if attempt.begun.recorded:
                exchange.trace_id = attempt.begun.trace_id
                exchange.listeners.append(attempt.begun.decided)
            try:
                yield
            finally:
                attempt.answered(exchange.status)

    async def _refund(self, request: JobRequest, record: Record, status: int) -> None:
        refund = request.refund
        if refund is None or refund.outcomes.isdisjoint(_outcomes(record, status)):
            return
        args = (refund.amount, f"job:{record.id}", _REMEMBERED, refund.journal)
        try:
            await self._runtime.store.decide([Question("credits_grant", refund.key, args, "closed")])
        except StoreError as error:
            logger.warning("a job's refund is lost: %s", error)


def queues_of(runtime: Runtime) -> JobQueues:
    """Return the queues that all stacks of one config share."""
    queues = _queues.get(runtime)
    if queues is None:
        queues = _queues[runtime] = JobQueues(runtime.config, runtime.clock)
    return queues


def _outcomes(record: Record, status: int) -> set[str]:
    """Return the words of `refund_on` that say what became of the job."""
    if record.status in ("succeeded", "cancelled"):
        return {"4xx"} if 400 <= status < 500 else set()
    return {"timeout"} if status == 504 else {"5xx"}
