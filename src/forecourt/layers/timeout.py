"""Timeout: ends a call that takes too long, and says until when it is worth working on.

`EndpointPolicy(timeout=Timeout(seconds=…))` turns it on. It stands below the breaker, which sees the 504 as a failure,
and around all attempts of a retry; a second one stands around each attempt (`per_attempt`). The deadline is
`request.state.forecourt.deadline` and `current_deadline()`. A trusted proxy may shorten it: X-Request-Timeout-Ms,
X-Envoy-Expected-Rq-Timeout-Ms (milliseconds) and Grpc-Timeout are honoured from the addresses of `trusted_proxies`.

At the deadline the handler is cancelled and the caller told 504 with the type `deadline-exceeded`, at once: a handler
that ignores cancellation, or a synchronous one in its thread, goes on until it ends by itself, and what it says then is
withheld. Once the response has begun nothing can be answered any more: it is broken off, so that the client sees that
it is not whole. Only our own expiry becomes a 504; a TimeoutError of the handler's is its own affair. It asks no store.
"""

import asyncio
import logging

from forecourt.deadlines import Deadline, current
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.messages import BEGINNINGS
from forecourt.responses import TYPES, Problem
from forecourt.runtime import Runtime
from forecourt.types import SECOND, ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("forecourt")

TIMED_OUT = Problem(
    504, "Gateway Timeout", TYPES + "deadline-exceeded", "The call took longer than this endpoint allows."
)

_MILLISECONDS = frozenset({b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms"})
_UNITS = {b"H": 3600 * SECOND, b"M": 60 * SECOND, b"S": SECOND, b"m": 1000, b"u": 1}
"""Of Grpc-Timeout, in µs; nanoseconds are too short to be meant."""

_MOST_DIGITS = 12


class TimeoutLayer:
    """Limits the calls of one endpoint, or each attempt of them (`attempt`); `limit` in µs."""

    def __init__(self, app: ASGIApp, *, limit: int, runtime: Runtime, until_start: bool, attempt: bool = False) -> None:
        self.app = app
        self._limit = limit
        self._until_start = until_start
        self._attempt = attempt
        self._clients = runtime.clients if runtime.config.trusted_proxies and not attempt else None
        self._clock = runtime.clock
        self._timers = runtime.timers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call on until the time is over."""
        exchange = exchange_of(scope)
        left = self._left(exchange, scope)
        if left <= 0:
            exchange.decided("timeout", "timed_out")
            return await exchange.refuse(TIMED_OUT)(scope, receive, send)
        deadline = Deadline(self._clock.now() + left, self._clock)
        outer, exchange.deadline = exchange.deadline, deadline
        call = _Call(exchange, scope, receive, send)
        timer = self._timers.set(left, call.expire)
        if self._until_start or scope["type"] == "websocket":
            call.begun = lambda: self._timers.drop(timer)
        token = current.set(deadline)
        try:
            await self.app(scope, receive, call.send)
        except asyncio.CancelledError:
            if not call.expired or call.also_cancelled():
                raise
        except Exception:
            await call.answered()
            raise
        finally:
            self._timers.drop(timer)
            call.begun = _nothing  # else call and timer would keep each other
            current.reset(token)
            exchange.deadline = outer
            call.end()
        await call.answered()

    def _left(self, exchange: Exchange, scope: Scope) -> int:
        """Return how long the call may take from now, in µs: the least of what anybody says."""
        left = self._limit
        if exchange.deadline is not None:
            left = min(left, exchange.deadline.at - self._clock.now())
        if self._clients is not None and self._clients.trusts(scope):
            left = min([left, *_asked(scope)])
        return left


class _Call:
    """One call under way: whether its response has begun, and whether its time was over first."""

    __slots__ = (
        "_answer",
        "_before",
        "_exchange",
        "_receive",
        "_scope",
        "_send",
        "_task",
        "begun",
        "expired",
        "started",
    )

    def __init__(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._exchange = exchange
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answer: asyncio.Task[None] | None = None
        self.begun = _nothing
        self.expired = self.started = False

    async def send(self, message: Message) -> None:
        """Send, unless the time is over."""
        if self.expired:
            return
        if message["type"] in BEGINNINGS:
            self.started = True
            self.begun()
        await self._send(message)

    def expire(self) -> None:
        """Cancel the handler; answer for it where it has not begun to."""
        self.expired = True
        self._exchange.decided("timeout", "timed_out")
        self._task.cancel()
        if self.started:
            logger.warning("a response was broken off: it took longer than its endpoint allows")
            return
        refusal = self._exchange.refuse(TIMED_OUT)
        self._answer = asyncio.get_running_loop().create_task(refusal(self._scope, self._receive, self._send))

    def also_cancelled(self) -> bool:
        """Return whether somebody else has cancelled the call too."""
        return self._task.cancelling() - 1 > self._before

    def end(self) -> None:
        """Take back our own cancellation."""
        if self.expired:
            self._task.uncancel()

    async def answered(self) -> None:
        """Wait until our own answer is out, where there is one."""
        if self._answer is not None:
            await self._answer


def _nothing() -> None:
    """Do nothing."""


def _asked(scope: Scope) -> list[int]:
    """Return what the request's fields say of its time, in µs; what cannot be read says nothing."""
    asked: list[int] = []
    for name, value in scope["headers"]:
        if name in _MILLISECONDS:
            asked += _times(value, 1000)
        elif name == b"grpc-timeout" and value[-1:] in _UNITS:
            asked += _times(value[:-1], _UNITS[value[-1:]])
    return asked


def _times(digits: bytes, unit: int) -> list[int]:
    return [int(digits) * unit] if digits.isdigit() and len(digits) <= _MOST_DIGITS else []
