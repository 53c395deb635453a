"""Retry: calls the handler again where it failed and that is safe.

`EndpointPolicy(retry=Retry(…))` turns it on. It stands below the breaker, which sees one outcome for all attempts, and
inside the request's timeout; each attempt has a limit of its own by `per_attempt`. A failed attempt is one that raised,
or that answered with a status of `on`; its answer is thrown away, so nothing of it was sent.

There is no other attempt when a layer below refused (an open breaker; our own timeout excepted), when the method is
not idempotent (unless the operator says `unsafe`), when any of a response was sent, when the body was longer than
`max_body`, when the client has left, when the deadline or the budget does not allow it, or when the request is a retry
itself (field Retry-Attempt): one layer of retries is enough. Then the last
answer goes out as it is. Each attempt has a scope and a state of its own; those of the last are copied back, so that
what stands above sees which route ran. Dependencies and background tasks run once for each attempt. No store is asked.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from forecourt.core.retrying import IDEMPOTENT, MARK, Budget
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.messages import GONE, STARTS
from forecourt.policies.retry import Retry
from forecourt.runtime import Runtime
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

_ROUTING = ("endpoint", "path_params", "route", "router", "root_path", "app")
_MOST_SECONDS = 6


class RetryLayer:
    """Retries the calls of the endpoint of this `name`; `rand` gives numbers from 0 to 1."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: Retry,
        runtime: Runtime,
        name: str = "",
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.app = app
        self._plan = policy.plan()
        self._budget = runtime.budgets[name] = Budget(policy.budget)
        self._on = policy.on
        self._unsafe = policy.unsafe
        self._max_body = policy.max_body
        self._clock = runtime.clock
        self._random = rand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on; again where that is safe and of use."""
        if not self._may(scope):
            return await self.app(scope, receive, send)
        self._budget.call()
        exchange = exchange_of(scope)
        body = _Body(receive, self._max_body)
        attempt = 1
        while (wait := await self._attempt(scope, exchange, body, send, attempt)) is not None:
            await self._clock.sleep(wait / SECOND)
            attempt += 1

    def _may(self, scope: Scope) -> bool:
        if scope["type"] != "http" or not (self._unsafe or scope["method"] in IDEMPOTENT):
            return False
        return all(name != MARK for name, _ in scope["headers"])

    async def _attempt(self, scope: Scope, exchange: Exchange, body: "_Body", send: Send, number: int) -> int | None:
        """Call once; return how long to wait for the next attempt in µs, None when there is none."""
        own: Scope = {**scope, "state": dict(scope.get("state") or {})}
        exchange.refused = None
        if number > 1:
            exchange.decided("retry", "attempt", amount=number)
        wait: int | None = None
        started = False

        def kept_send(message: Message) -> Awaitable[None]:
            nonlocal wait, started
            if wait is None and not started and message["type"] in STARTS and message["status"] in self._on:
                wait = self._again(exchange, body, number, _retry_after(message))
            if wait is not None:
                return _thrown_away()
            started = True
            return send(message)

        try:
            await self.app(own, body.again(), kept_send)
        except Exception:
            if wait is None and not started:
                wait = self._again(exchange, body, number, None)
            if wait is None:
                raise
        finally:
            _copy_back(own, scope, last=wait is None or body.gone)
        return None if body.gone else wait

    def _again(self, exchange: Exchange, body: "_Body", number: int, retry_after: int | None) -> int | None:
        """Return how long to wait before another attempt; None where there is none."""
        refused = exchange.refused
        if body.gone or body.too_long or (refused is not None and refused.status != 504):
            return None
        left = None if exchange.deadline is None else exchange.deadline.at - self._clock.now()
        wait = self._plan.wait(number, self._random(), retry_after, left)
        if not isinstance(wait, int):
            return None
        if not self._budget.take():
            exchange.decided("retry", "exhausted")
            return None
        return wait


class _Body:
    """A request's body, received once and given to each attempt; what is longer than `most` cannot be given again."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._kept: list[Message] = []
        self._size = 0
        self.too_long = False
        self.gone = False

    def again(self) -> Receive:
        """Return the `receive` of one attempt: what was received already, then what comes."""
        given = 0

        async def receive() -> Message:
            nonlocal given
            if given < len(self._kept):
                given += 1
                return self._kept[given - 1]
            message = await self._receive()
            self.gone = self.gone or message["type"] in GONE
            if not self.gone and not self.too_long:
                self._keep(message)
                given = len(self._kept)
            return message

        return receive

    def _keep(self, message: Message) -> None:
        self._size += len(message.get("body", b""))
        self.too_long = self.too_long or self._size > self._most
        self._kept = [] if self.too_long else [*self._kept, message]


def _copy_back(own: Scope, scope: Scope, *, last: bool) -> None:
    """Let what stands above see the attempt's route, and the last one's state."""
    scope.update({name: own[name] for name in _ROUTING if name in own})
    if last and "state" in scope:
        scope["state"].update(own["state"])


def _retry_after(start: Message) -> int | None:
    """Return the seconds of a Retry-After in µs; a date is not understood."""
    for name, value in start.get("headers") or ():
        if name == b"retry-after" and value.isdigit() and len(value) <= _MOST_SECONDS:
            return int(value) * SECOND
    return None


async def _thrown_away() -> None:
    """Send nothing of an answer that will be another; let others run meanwhile."""
    await asyncio.sleep(0)
