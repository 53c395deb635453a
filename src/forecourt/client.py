"""Calls an endpoint whose contents are sealed from end to end, by httpx.

    async with sealed_client("https://api.example", service="service.jwk", own="alice.jwk") as client:
        answer = await client.post("/payments", json={"amount": 1}, headers={"X-API-Key": key})
        print(answer.json())

Each request is sealed to the service's public key, each answer opened by the caller's own and held to the call that it
answers. A call that is not idempotent by its method gets an Idempotency-Key, so that it can be made again: after 429,
503 and 409 with a Retry-After that is waited for, sealed anew, with the same key. `sealed_client_sync` is the same for
`httpx.Client`; `SealingTransport` and `SyncSealingTransport` go around a transport of your own.

Refusals of the service come in plain, and anybody on the way could have made them: they are handed on as they are, from
400 on. An answer below 400 that is not sealed, or does not open, raises UnsealedAnswer.
"""

import json
import os
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx

from forecourt.core.idempotency_fields import Pointer
from forecourt.core.payload import Call, Header, Terms, check_answer, of_request
from forecourt.core.retrying import IDEMPOTENT
from forecourt.core.sealed import Unopened
from forecourt.errors import ConfigError
from forecourt.payload.contents import Contents, NotSealed
from forecourt.payload.keys import opener, sealer
from forecourt.policies.encryption import Format
from forecourt.policies.payload_keys import Jwk
from forecourt.types import SECOND, Clock, SystemClock

Key = str | os.PathLike[str] | Jwk
"""A JWK, or the path of a file that holds one."""

MOST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read."""

LATER = frozenset({409, 429, 503})
"""Statuses after which the same call may be made again, where Retry-After says when."""

_BODILESS = frozenset({204, 205, 304})
_OF_CONTENT = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding"})


class UnsealedAnswer(httpx.DecodingError):
    """An answer that should be sealed and is not, or that does not open: nobody knows who gave it."""


class _Got(NamedTuple):
    response: httpx.Response
    content: bytes


Steps = Generator[httpx.Request | int, _Got | None, httpx.Response]
"""What is to be done next: a request to send, or µs to wait; in the end the answer."""


class Sealing:
    """How one caller and one service talk: keys, form, and how often a call is made.

    `service`: the service's public key; None: requests go in plain. `own`: the caller's private key, whose public half
    is registered with the service; None: answers come in plain. `subject`: whom the service knows the caller by; then a
    request counts with this caller's credentials only. `attempts`: at most so many; `patience`: seconds that are
    waited between them, in all. ConfigError where a key is of no use, or `attempts` less than 1.
    """

    def __init__(
        self,
        *,
        service: Key | None,
        own: Key | None,
        format: Format = "jwe",  # noqa: A002  # the word of the policy
        member: str | None = None,
        fields: Sequence[str] = (),
        subject: str | None = None,
        attempts: int = 3,
        patience: float = 30,
        max_age: int = 300,
        clock: Clock | None = None,
    ) -> None:
        if attempts < 1:
            raise ConfigError(f"attempts must be at least 1, not {attempts}")
        self.clock: Clock = clock or SystemClock()
        self._contents = Contents(format, member, tuple(map(Pointer.parse, fields)))
        self._seals = None if service is None else sealer(format, _jwk(service))
        self._opens = None if own is None else opener(format, [_jwk(own)])
        self._subject = subject
        self._attempts = attempts
        self._patience = round(patience * SECOND)
        self._terms = Terms(max_age)

    def steps(self, request: httpx.Request, content: bytes) -> Steps:
        """Make one call, however often it takes."""
        if request.method not in IDEMPOTENT and "idempotency-key" not in request.headers:
            request.headers["idempotency-key"] = str(uuid.uuid4())
        left = self._patience
        attempt = 1
        while True:
            sealed, id_ = self._sealed(request, content)
            got = yield sealed
            assert got is not None, "a request is answered"
            wait = _wait(got.response)
            if wait is None or wait > left or attempt == self._attempts:
                return self._opened(request, got, id_)
            left -= wait
            attempt += 1
            _ = yield wait

    def _sealed(self, request: httpx.Request, content: bytes) -> tuple[httpx.Request, str | None]:
        headers = request.headers.copy()
        if self._opens is not None and self._contents.whole:
            headers["accept"] = self._contents.media_type
        if self._seals is None or not content:
            return _request(request, headers, content), None
        call, now, id_ = self._call(request), self.clock.now() // SECOND, str(uuid.uuid4())

        def say(kind: str, pointer: str | None) -> Header:
            return of_request(call, now, id_, kind, pointer=pointer)

        body, kind = self._contents.seal(self._seals, content, headers.get("content-type", ""), say)
        headers["content-type"] = kind
        headers["content-length"] = str(len(body))
        return _request(request, headers, body), id_ if body != content else None

    def _opened(self, request: httpx.Request, got: _Got, id_: str | None) -> httpx.Response:
        response, content = got
        status = response.status_code
        if self._opens is None or not content or request.method == "HEAD" or status in _BODILESS:
            return _response(response, response.headers, content)
        call = self._call(request)

        def check(header: Header, pointer: str | None) -> None:
            now = self.clock.now() // SECOND
            check_answer(header, call, self._terms, now, request_id=id_, status=status, pointer=pointer)

        kind = response.headers.get("content-type", "").encode("latin-1")
        try:
            if not self._contents.takes(kind):
                raise NotSealed
            inside = self._contents.open(self._opens, content, check)
        except NotSealed:
            if status >= 400:
                return _response(response, response.headers, content)
            raise UnsealedAnswer("the answer is not sealed", request=request) from None
        except Unopened:
            raise UnsealedAnswer("the answer cannot be opened", request=request) from None
        headers = httpx.Headers([each for each in response.headers.multi_items() if each[0] not in _OF_CONTENT])
        known = response.headers.get("content-type") if inside.in_place else inside.content_type
        headers.update(
            {name: value for name, value in (("content-type", known), ("content-encoding", inside.coding)) if value}
        )
        return _response(response, headers, inside.content)

    def _call(self, request: httpx.Request) -> Call:
        return Call(request.method, request.url.raw_path, self._subject)


class SealingTransport(httpx.AsyncBaseTransport):
    """Seals and opens around another transport of httpx."""

    def __init__(self, sealing: Sealing, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._sealing = sealing
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the opened answer; raises UnsealedAnswer, or what httpx raises."""
        steps = self._sealing.steps(request, await request.aread())
        step = next(steps)
        try:
            while True:
                if isinstance(step, int):
                    await self._sealing.clock.sleep(step / SECOND)
                    step = next(steps)
                else:
                    step = steps.send(await self._answer(step))
        except StopIteration as done:
            answer: httpx.Response = done.value
            return answer

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()

    async def _answer(self, request: httpx.Request) -> _Got:
        response = await self._inner.handle_async_request(request)
        held = _Held(request)
        try:
            async for part in response.aiter_bytes():
                held.add(part)
        finally:
            await response.aclose()
        return _Got(response, held.content())


class SyncSealingTransport(httpx.BaseTransport):
    """The same for `httpx.Client`; `sleep` waits for so many seconds."""

    def __init__(
        self,
        sealing: Sealing,
        inner: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._sealing = sealing
        self._inner = inner or httpx.HTTPTransport()
        self._sleep = sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the opened answer; raises UnsealedAnswer, or what httpx raises."""
        steps = self._sealing.steps(request, request.read())
        step = next(steps)
        try:
            while True:
                if isinstance(step, int):
                    self._sleep(step / SECOND)
                    step = next(steps)
                else:
                    step = steps.send(self._answer(step))
        except StopIteration as done:
            answer: httpx.Response = done.value
            return answer

    def close(self) -> None:
        """Close the transport inside."""
        self._inner.close()

    def _answer(self, request: httpx.Request) -> _Got:
        response = self._inner.handle_request(request)
        held = _Held(request)
        try:
            for part in response.iter_bytes():
                held.add(part)
        finally:
            response.close()
        return _Got(response, held.content())


def sealed_client(
    base_url: str,
    *,
    service: Key | None,
    own: Key | None = None,
    format: Format = "jwe",  # noqa: A002  # the word of the policy
    member: str | None = None,
    fields: Sequence[str] = (),
    subject: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Return a client that seals and opens; what the words mean is said at `Sealing`."""
    sealing = Sealing(service=service, own=own, format=format, member=member, fields=fields, subject=subject)
    return httpx.AsyncClient(base_url=base_url, transport=SealingTransport(sealing, transport))


def sealed_client_sync(
    base_url: str,
    *,
    service: Key | None,
    own: Key | None = None,
    format: Format = "jwe",  # noqa: A002  # the word of the policy
    member: str | None = None,
    fields: Sequence[str] = (),
    subject: str | None = None,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """Return a client that seals and opens and does not know asyncio."""
    sealing = Sealing(service=service, own=own, format=format, member=member, fields=fields, subject=subject)
    return httpx.Client(base_url=base_url, transport=SyncSealingTransport(sealing, transport))


class _Held:
    """An answer while it comes."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MOST_ANSWER:
            raise UnsealedAnswer(f"the answer is longer than {MOST_ANSWER} bytes", request=self._request)

    def content(self) -> bytes:
        return b"".join(self._parts)


def _request(request: httpx.Request, headers: httpx.Headers, content: bytes) -> httpx.Request:
    return httpx.Request(
        request.method, request.url, headers=headers, content=content or None, extensions=request.extensions
    )


def _response(response: httpx.Response, headers: httpx.Headers, content: bytes) -> httpx.Response:
    """Return an answer with this content; what httpx has decoded already is not said to be coded."""
    kept = headers.copy()
    if headers is response.headers:
        kept.pop("content-encoding", None)
    kept.pop("content-length", None)
    return httpx.Response(response.status_code, headers=kept, content=content, extensions=response.extensions)


def _wait(response: httpx.Response) -> int | None:
    """Return the µs after which the call may be made again; None where nobody says so. Dates are not understood."""
    value = response.headers.get("retry-after", "")
    if response.status_code not in LATER or not (value.isascii() and value.isdigit() and len(value) < 7):
        return None
    return int(value) * SECOND


def _jwk(key: Key) -> Jwk:
    if isinstance(key, Mapping):
        return key
    found: Jwk = json.loads(Path(key).read_text("utf-8"))
    return found


__all__ = [
    "Key",
    "Sealing",
    "SealingTransport",
    "SyncSealingTransport",
    "UnsealedAnswer",
    "sealed_client",
    "sealed_client_sync",
]
