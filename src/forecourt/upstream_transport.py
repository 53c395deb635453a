"""Calls an upstream, by httpx: breaker outside, then retries within a budget, then one attempt with its limit.

The order is the stack's own: the breaker learns one outcome of a whole series of attempts, and all of them end by the
deadline of the request that they are made for. A call has failed when the connection did, when it was late, when its
status is one of the breaker's `failures`, or when its body broke off. Nothing is learnt from a call that was cancelled
before the deadline, from a body that nobody read to its end, and from what never left this process (a pool without a
free connection, an address that cannot be called). Of event streams, which may never end, the status is all.

What was answered is handed on at its head; a body that breaks off later is not asked for again.
"""

import asyncio
import random
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import NamedTuple, TypeAlias

import httpx

from forecourt.breakers import Breaker, whole_seconds
from forecourt.core.breaker import Ended, Permit, Refused
from forecourt.core.retrying import IDEMPOTENT, MARK, Budget
from forecourt.deadlines import current_deadline
from forecourt.errors import CircuitOpen
from forecourt.policies.upstream import Upstream
from forecourt.surroundings import around
from forecourt.types import SECOND, Clock

Client: TypeAlias = httpx.AsyncClient

TOLD = "x-request-timeout-ms"
"""The field that tells a host how long its answer is waited for."""

_FAILURES = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
_NAME = "forecourt.upstream"
_MOST_DIGITS = 6


class Failure(NamedTuple):
    """An upstream that failed: its name, and whether it was late."""

    upstream: str
    late: bool


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Carries the calls to one upstream; `rand` gives numbers from 0 to 1. Connections belong to the loop that asks."""

    def __init__(
        self,
        name: str,
        policy: Upstream,
        breaker: Breaker | None,
        clock: Clock,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.clock = clock
        self._policy = policy
        self._breaker = breaker
        self._retry = policy.retrying
        self._plan = self._retry.plan() if self._retry else None
        self._budget = Budget(self._retry.budget) if self._retry else None
        self._limit = policy.limit.limit() if policy.limit else None
        self._attempt_limit = policy.limit.attempt() if policy.limit else None
        self._to_end = policy.limit is not None and policy.limit.until == "end"
        self._told = frozenset(policy.deadline_hosts)
        self._random = rand
        self._tls = _tls()
        _load()
        self._inner: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncHTTPTransport] = (
            weakref.WeakKeyDictionary()
        )

    def client(self) -> Client:
        """Return a client of this transport; it keeps no cookies, as many callers share it."""
        own = 5.0 if self._limit is None else self._limit / SECOND
        return httpx.AsyncClient(
            transport=self,
            base_url=self._policy.base_url,
            timeout=own,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    def failure(self, error: Exception) -> Failure | None:
        """Return what an error says of this upstream; None where it says nothing."""
        if not isinstance(error, httpx.TransportError | httpx.HTTPStatusError):
            return None
        if _asked(error) != self.name:
            return None
        if isinstance(error, httpx.HTTPStatusError):
            return Failure(self.name, late=False) if error.response.status_code >= 500 else None
        late = isinstance(error, httpx.TimeoutException)
        return Failure(self.name, late) if late or isinstance(error, _FAILURES) else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer with the head of the last attempt's answer; raises CircuitOpen or what httpx raises."""
        request.extensions[_NAME] = self.name
        due = self._due(self._limit)
        if due is not None and due <= self.clock.now():
            raise httpx.ReadTimeout("the deadline has passed", request=request)
        call = _Call(self._breaker, await self._admitted())
        try:
            response = await self._answer(request, due)
        except BaseException as error:
            call.broken(error)
            raise
        call.status = response.status_code
        if "text/event-stream" in response.headers.get("content-type", ""):
            call.end(call.by_status())
        body = _Body(response, call, request, self._due(self._limit if self._to_end else None, due), self.clock)
        return httpx.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Keep the connections: they are the config's, not one client's."""

    async def close(self) -> None:
        """Let go of the connections of this loop."""
        inner = self._inner.pop(asyncio.get_running_loop(), None)
        if inner is not None:
            await inner.aclose()

    def _due(self, limit: int | None, due: int | None = None) -> int | None:
        """Return when the call must have ended: the least of `due` or the limit from now, and the deadline."""
        deadline = current_deadline()
        ends = [deadline.at] if deadline is not None else []
        if limit is not None:
            ends.append(self.clock.now() + limit if due is None else due)
        return min(ends, default=None)

    async def _admitted(self) -> Permit | None:
        if self._breaker is None or around.get().guarded_by(self._breaker.name):
            return None
        told = await self._breaker.confirmed(self._breaker.admit())
        if type(told) is Refused:
            raise CircuitOpen(self._breaker.name, whole_seconds(told.wait))
        assert told is None or type(told) is Permit
        return told

    async def _answer(self, request: httpx.Request, due: int | None) -> httpx.Response:
        """Return the last attempt's answer."""
        again = self._may_retry(request)
        if again and self._budget is not None:
            self._budget.call()
        attempt = 1
        while True:
            wait: int | None = None
            try:
                response = await self._attempt(request, attempt, due)
            except _FAILURES as error:
                if not again or not _is_failure(error) or (wait := self._wait(attempt, due, None)) is None:
                    raise
            else:
                if again and self._retry is not None and response.status_code in self._retry.on:
                    wait = self._wait(attempt, due, _retry_after(response))
                if wait is None:
                    return response
                await response.aclose()
            await self.clock.sleep(wait / SECOND)
            attempt += 1

    async def _attempt(self, request: httpx.Request, number: int, due: int | None) -> httpx.Response:
        now = self.clock.now()
        lefts = [due - now] if due is not None else []
        if self._attempt_limit is not None:
            lefts.append(self._attempt_limit)
        left = max(0, min(lefts)) / SECOND if lefts else None
        try:
            async with asyncio.timeout(left):
                return await self._connections().handle_async_request(self._request(request, number, due, left))
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time", request=request) from None

    def _request(self, request: httpx.Request, number: int, due: int | None, left: float | None) -> httpx.Request:
        """Return the request of one attempt: what it tells the host, and no wait in it longer than what is left."""
        headers = request.headers.copy()
        if number > 1:
            headers[MARK.decode()] = str(number - 1)
        if due is not None and request.url.host.lower() in self._told:
            headers[TOLD] = str(max(1, (due - self.clock.now()) // 1000))
        waits = request.extensions.get("timeout") or {}
        if left is not None:
            waits = {**waits, **{each: min(waits.get(each) or left, left) for each in _WAITS}}
        extensions = {**request.extensions, "timeout": waits}
        return httpx.Request(request.method, request.url, headers=headers, stream=request.stream, extensions=extensions)

    def _may_retry(self, request: httpx.Request) -> bool:
        """Whether this call may be made again: nobody else tries it again, and it is the same each time."""
        retry = self._retry
        if retry is None or around.get().retried or MARK.decode() in request.headers:
            return False
        if not (retry.unsafe or request.method in IDEMPOTENT) or not isinstance(request.stream, httpx.ByteStream):
            return False
        return int(request.headers.get("content-length", "0")) <= retry.max_body

    def _wait(self, attempt: int, due: int | None, retry_after: int | None) -> int | None:
        """Return how long to wait before another attempt; None where there is none."""
        assert self._plan is not None
        assert self._budget is not None
        left = None if due is None else due - self.clock.now()
        wait = self._plan.wait(attempt, self._random(), retry_after, left)
        return wait if isinstance(wait, int) and self._budget.take() else None

    def _connections(self) -> httpx.AsyncHTTPTransport:
        loop = asyncio.get_running_loop()
        inner = self._inner.get(loop)
        if inner is None:
            inner = self._inner[loop] = httpx.AsyncHTTPTransport(verify=self._tls)
        return inner


_WAITS = ("connect", "read", "write", "pool")


class _Call:
    """One call under way, until its breaker knows how it ended."""

    __slots__ = ("_breaker", "_permit", "_settled", "status")

    def __init__(self, breaker: Breaker | None, permit: Permit | None) -> None:
        self._breaker = breaker
        self._permit = permit
        self._settled = False
        self.status = 0

    def by_status(self) -> Ended:
        """Judge by the status."""
        return "failure" if self._failed() else "success"

    def broken(self, error: BaseException) -> None:
        """Settle by what was raised."""
        late = isinstance(error, asyncio.CancelledError) and _past_deadline()
        failed = late or (isinstance(error, Exception) and _is_failure(error))
        self.end("failure" if failed else "ignored", error)

    def left(self) -> None:
        """Settle what nobody read to its end."""
        self.end("failure" if self._failed() or _past_deadline() else "ignored")

    def end(self, ended: Ended, error: BaseException | None = None) -> None:
        """Settle, once."""
        if not self._settled and self._breaker is not None:
            self._settled = True
            self._breaker.settle(self._permit, ended, error)

    def _failed(self) -> bool:
        return self._breaker is not None and self.status in self._breaker.policy.failures


class _Body(httpx.AsyncByteStream):
    """The body of an answer, until `due`; its end settles the call."""

    def __init__(
        self, response: httpx.Response, call: _Call, request: httpx.Request, due: int | None, clock: Clock
    ) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._call = call
        self._request = request
        self._due = due
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._stream.__aiter__()
        try:
            while (part := await self._next(parts)) is not None:
                yield part
        except httpx.TransportError as error:
            self._call.broken(error)
            raise
        self._call.end(self._call.by_status())

    async def aclose(self) -> None:
        """Let go of it, read or not."""
        self._call.left()
        await self._stream.aclose()

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        left = None if self._due is None else max(0, self._due - self._clock.now()) / SECOND
        try:
            async with asyncio.timeout(left):
                return await anext(parts, None)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer did not end in time", request=self._request) from None


def _asked(error: httpx.TransportError | httpx.HTTPStatusError) -> object:
    """Return the name of the upstream that an error's request went to, if any."""
    try:
        return error.request.extensions.get(_NAME)
    except RuntimeError:  # httpx says so of an error without a request
        return None


@cache
def _tls() -> ssl.SSLContext:
    """Return what all upstreams verify certificates by; making it takes tens of milliseconds."""
    return httpx.create_ssl_context()


@cache
def _load() -> None:
    """Have httpx import what it connects with: a third of a second, which no first call's limit has to spare."""
    httpx.AsyncHTTPTransport(verify=_tls())


def _is_failure(error: Exception) -> bool:
    return isinstance(error, _FAILURES) and not isinstance(error, httpx.PoolTimeout)


def _past_deadline() -> bool:
    deadline = current_deadline()
    return deadline is not None and deadline.remaining() <= 0


def _retry_after(response: httpx.Response) -> int | None:
    """Return the seconds of a Retry-After in µs; a date is not understood."""
    value = response.headers.get("retry-after", "")
    return int(value) * SECOND if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS else None
