"""Concurrency: refuses a call while as many as the limit are at work, counted over all processes.

`EndpointPolicy(concurrency=Concurrency(limit=…))` turns it on. It stands right below the rate limits, with which it
stands or falls: its question is in the same trip, and a call that either refuses has consumed nothing of the other. A
call holds a lease from there to the end of its response body, a WebSocket to its close; it is given back when the
client leaves, when the call is cancelled and when it fails, and a process that dies frees its leases within one
`lease`, as nobody renews them.

Limits per caller refuse with 429 and Retry-After, an upper estimate, as nobody knows when a call will end; answers
carry RateLimit fields with the unit `concurrent-requests`. Limits of a whole endpoint (`key="endpoint"`) refuse with
503 and Retry-After: not this caller has too much. With a `queue`, so many callers of a process and key wait for a
lease first; then everything is asked again, in one more trip. On a WebSocket all this concerns the handshake. With
the store down `on_store_error` answers: "local" counts in this process, "open" passes, "closed" refuses with 503;
such answers carry no RateLimit fields.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import cast

from forecourt.core.operations import Arg
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.identities import identity_of
from forecourt.layers.lease_queue import LeaseQueue
from forecourt.layers.outcomes import tell_answer
from forecourt.leases import Kept
from forecourt.limit_fields import Quota, Standing, draft_11
from forecourt.policies import Concurrency
from forecourt.policies.concurrency import LeaseArgs
from forecourt.policies.quantities import microseconds
from forecourt.responses import IANA_TYPES, STORE_UNAVAILABLE, Header, Problem, Refusal, limit_exceeded
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

NAME = "concurrency"
"""What the limit is called in fields and problems."""

BUSY = Problem(
    503,
    "Service Unavailable",
    IANA_TYPES + "temporary-reduced-capacity",
    "As many calls as this endpoint takes at once are at work; nothing was done.",
)


class ConcurrencyLayer:
    """Holds a lease for each call of one endpoint; see the module for what it answers."""

    settles = True

    def __init__(self, app: ASGIApp, *, policy: Concurrency, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._args = policy.args()
        self._local_args = policy.local_args()
        self._ttl = self._args[1]
        self._on_error = policy.on_store_error
        self._of_endpoint = policy.key == "endpoint"
        self._shown = not (self._of_endpoint or policy.shadow) and runtime.config.limit_headers in ("draft-11", "both")
        self._quota = Quota(NAME, policy.limit, 0, "concurrent-requests")
        self._keys = runtime.keys
        self._bucket = f"endpoint:{endpoint.name}"
        self._identity = identity_of(policy.key, endpoint, runtime.config.key_functions)
        self._heartbeat = runtime.heartbeat
        self._queue = (
            LeaseQueue(runtime, most=policy.queue, max_wait=microseconds(policy.max_wait)) if policy.queue else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; refuse and return, or call on."""
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        await self.app(scope, receive, send)

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """Ask for a lease under this exchange's id; where others wait, only for what it will hold in its turn."""
        key = self._keys.key("lease", self._bucket, *self._identity(exchange))
        args, local_args = _with_id(self._args, exchange.id), _with_id(self._local_args, exchange.id)
        question = exchange.notes[self] = Question("lease", key, args, self._on_error, local_args)
        if self._queue is not None and self._queue.waited_for(key):
            return (question._replace(args=(0, *args[1:]), local_args=(0, *local_args[1:])),)
        return (question,)

    async def wait(
        self, exchange: Exchange, place: int, again: Callable[[], Awaitable[list[Answer]]]
    ) -> list[Answer] | None:
        """Wait in line and ask everything `again`, holding the lease; None where that is of no use."""
        if self._queue is None:
            return None
        question = _question(exchange, self)
        if not await self._queue.turn(question):
            return None
        granted = False
        try:
            answers = await again()
            granted = answers[place].granted
        finally:
            if not granted:
                self._queue.give_back(question)
        return answers

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Leave the RateLimit fields; keep a lease that was granted, refuse where there is none."""
        (answer,) = answers
        if self._shown and answer.values and not answer.degraded:
            _join(exchange.headers, draft_11([Standing(self._quota, self._remaining(answer), 0)]))
        if answer.granted:
            self._heartbeat.keep(self._kept(exchange, answer), (exchange.id,))
        tell_answer(exchange, NAME, answer)
        return None if answer.verdict == "go" else self._refusal(exchange, answer)

    def settlements(self, exchange: Exchange, answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Give the lease back."""
        kept = self._kept(exchange, answers[0])
        self._heartbeat.drop(kept, (exchange.id,))
        yield Settlement("lease_release", kept.key, (exchange.id,))

    def _remaining(self, answer: Answer) -> int:
        """Return how many more may be at work; a lease that another limit's refusal left untaken is still there."""
        _, _, used, held = (int(value) for value in answer.values)
        return max(0, self._quota.limit - (used if answer.granted else used - held))

    def _kept(self, exchange: Exchange, answer: Answer) -> Kept:
        return Kept("lease_renew", _question(exchange, self).key, self._ttl, local=answer.degraded)

    def _refusal(self, exchange: Exchange, answer: Answer) -> Refusal:
        if not answer.values:
            return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
        retry_after = max(1, -(-int(answer.values[1]) // SECOND))
        return exchange.refuse(BUSY if self._of_endpoint else limit_exceeded([NAME]), retry_after)


def _with_id(args: LeaseArgs, own: str) -> tuple[Arg, ...]:
    return (*args[:2], own, *args[2:])


def _question(exchange: Exchange, layer: ConcurrencyLayer) -> Question:
    return cast("Question", exchange.notes[layer])


def _join(headers: list[Header], fields: Iterable[Header]) -> None:
    """Add fields, each to the one of its name that is there: both are lists."""
    for name, value in fields:
        for place, (other, earlier) in enumerate(headers):
            if other == name:
                headers[place] = (name, earlier + b", " + value)
                break
        else:
            headers.append((name, value))
