"""Offload: a call becomes a job. It is answered with 202 at once, and a worker runs the handler.

`EndpointPolicy(offload=Offload(queue=…))` turns it on. It stands innermost, above the handler alone: what is published
was let in, is new and was paid for. With `mode="prefer"` only calls that say `Prefer: respond-async` become jobs
(RFC 7240 §4.1); with `wait=N` the caller has the handler's own answer where it comes within so many seconds (30 at
most).

Answers 202 with `Location`, `Retry-After` and the job; 422 as FastAPI would where path, query, header or JSON body do
not fit the handler, where its callback may not be called, and where a key was used for another request before; 413 for
a body over `max_body`; 503 with nothing published when the queue is full or does not answer. A job that is refused
here costs no credits, and the same idempotency key gives the same job, charged once.
"""

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from starlette.responses import JSONResponse, Response

from forecourt.core.webhooks import Rules, target_of
from forecourt.errors import StoreError
from forecourt.exchange import Exchange, exchange_of
from forecourt.jobs.envelope import Callback, JobRequest, Refund, carried
from forecourt.jobs.queue import NewJob, Record
from forecourt.jobs.queues import JobQueues
from forecourt.jobs.results import JobResult
from forecourt.jobs.tracing import JobSpans, said_of
from forecourt.jobs.validation import Validator, validator_of
from forecourt.jobs.webhooks import Deliveries
from forecourt.layers.credits import CLAIM, LedgerClaim
from forecourt.layers.identities import identity_of
from forecourt.ledger import account_key
from forecourt.policies import Credits, Offload
from forecourt.policies.offload import BY_HEADER, BY_KEY
from forecourt.policies.quantities import microseconds
from forecourt.principals import digest
from forecourt.responses import TYPES, Header, Problem
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.sealing import at_rest, tenant_of
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

LONGEST_WAIT = 30
RETRY_AFTER = 1
_FIRST_LOOK, _NEXT_LOOK = 0.01, 0.1
_WAIT = re.compile(r"wait=(\d{1,9})")

TOO_LARGE = Problem(413, "Content Too Large", TYPES + "body-too-large", "The body is larger than a job may carry.")
KEY_REUSED = Problem(
    422,
    "Unprocessable Content",
    TYPES + "idempotency-key-reused",
    "This key was used for another request before; nothing was done.",
)


CALLBACK = Problem(422, "Unprocessable Content", TYPES + "callback-not-allowed")


class _CallerLeft(Exception):
    """The caller left before the request was whole."""


class OffloadLayer:
    """Publishes the calls of one endpoint; `location` is the path template under which callers see jobs."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: Offload,
        charges: Credits | None,
        endpoint: Endpoint,
        runtime: Runtime,
        queues: JobQueues,
        location: str | None,
        deliveries: Deliveries | None = None,
        spans: JobSpans | None = None,
    ) -> None:
        self.app = app
        self._policy = policy
        self._charges = charges
        self._endpoint = endpoint
        self._runtime = runtime
        self._location = location
        self._deliveries = deliveries
        self._spans = spans
        self._address = queues.address(policy.queue)
        webhooks = runtime.config.webhooks
        self._named = policy.callback if webhooks else None
        self._rules = webhooks.rules() if webhooks else Rules()
        self._queue = queues.queue(policy.queue)
        self._envelopes = queues.envelopes(policy.queue)
        self._ring = queues.ring
        self._identity = identity_of("principal", endpoint, {})
        self._at_rest = at_rest(runtime.config, endpoint.name)
        self._timeout = microseconds(policy.timeout) if policy.timeout is not None else 0
        self._validator: Validator | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Publish and answer, unless this call is none for a job."""
        preferred = _preferences(scope)
        if self._policy.mode == "prefer":
            exchange_of(scope).headers.append((b"vary", b"Prefer"))
            if "respond-async" not in preferred:
                return await self.app(scope, receive, send)
        await self.publish(scope, receive, send)

    async def publish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Publish and answer, whatever the caller prefers."""
        try:
            answer = await self._answer(exchange_of(scope), receive, _preferences(scope))
        except _CallerLeft:
            return  # the request was not whole: there is no job, and nobody to tell
        await answer(scope, receive, send)

    async def _answer(self, exchange: Exchange, receive: Receive, preferred: Sequence[str]) -> ASGIApp:
        body = await _body(receive, self._policy.max_body)
        if body is None:
            return exchange.refuse(TOO_LARGE)
        if refused := await self._invalid(exchange, body):
            exchange.charge(0)
            return refused
        try:
            callback = self._callback(exchange)
        except ValueError as error:
            exchange.charge(0)
            return exchange.refuse(replace(CALLBACK, detail=f"The callback {error}."))
        return await self._made(exchange, body, callback, preferred)

    async def _made(
        self, exchange: Exchange, body: bytes, callback: Callback | None, preferred: Sequence[str]
    ) -> ASGIApp:
        """Make the call a job; answer as the caller prefers."""
        try:
            job, record = await self._published(exchange, body, callback)
            if record.fingerprint != job.fingerprint:
                return exchange.refuse(KEY_REUSED)
            record = await self._waited(record, _wait(preferred))
            if record.status == "succeeded" and _wait(preferred) and (result := await self._result(exchange, job.id)):
                return result.response()
        except StoreError as error:
            return exchange.undecided(error)
        return self._accepted(exchange, record, preferred)

    async def _published(self, exchange: Exchange, body: bytes, callback: Callback | None) -> tuple[NewJob, Record]:
        """Publish the job, and before it who looks whether it has ended."""
        owner = owner_of(exchange, self._identity(exchange))
        name = self._id(exchange, owner)
        with self._traced(name, carried(exchange.scope["headers"], self._policy.headers)) as headers:
            job = self._job(exchange, name, owner, self._request(exchange, headers, body, callback))
            if callback is not None and self._deliveries is not None:
                await self._deliveries.watch(job.id, callback)
            record, created = await self._queue.publish(job)
        if not created:
            exchange.charge(0)
        return job, record

    def _traced(self, job: str, headers: Sequence[Header]) -> AbstractContextManager[Sequence[Header]]:
        """Have a span around the publication, where calls are traced; give the fields that the job carries."""
        if self._spans is None:
            return nullcontext(headers)
        queue = self._policy.queue
        said = said_of(queue, self._address, job, self._endpoint.name, "send")
        return self._spans.publishing(f"publish {queue}", said, headers)

    async def _invalid(self, exchange: Exchange, body: bytes) -> ASGIApp | None:
        if self._validator is None:
            self._validator = validator_of(self._endpoint)
        return await self._validator(exchange.scope, exchange.params, body)

    def _callback(self, exchange: Exchange) -> Callback | None:
        """Return who is told of the job's end; ValueError where the address may not be called."""
        if self._named is None:
            return None
        location = "" if self._location is None else exchange.scope.get("root_path", "") + self._location
        if self._named == BY_KEY:
            url = exchange.principal.webhook if exchange.principal else None
        elif self._named.startswith(BY_HEADER):
            name = self._named.removeprefix(BY_HEADER).encode()
            given = next((value for field, value in exchange.scope["headers"] if field == name), None)
            url = given.decode("latin-1") if given is not None else None
        else:
            return Callback(self._named, "", location, self._at_rest)
        if not url:
            return None
        target_of(url, self._rules)
        return Callback(url, owner_of(exchange, self._identity(exchange)), location, self._at_rest)

    def _job(self, exchange: Exchange, name: str, owner: str, request: JobRequest) -> NewJob:
        scope, policy = exchange.scope, self._policy
        lease, delay, expires, ttl = policy.terms()
        claim = exchange.notes.get(CLAIM)
        if isinstance(claim, LedgerClaim):
            ttl = max(ttl, claim.keep)  # a replayed 202 leads to a job that is still there
        told_at = request.callback.url if request.callback else ""
        body = hashlib.blake2b(request.body).hexdigest()
        fingerprint = digest(scope["method"], scope["path"], _query(scope), told_at, body)
        told = (name, owner, self._endpoint.name, fingerprint, self._envelopes.seal(name, request))
        return NewJob(*told, policy.max_attempts, lease, delay, expires, ttl, policy.max_queued)

    def _id(self, exchange: Exchange, owner: str) -> str:
        """Name the job: by the idempotency key of the call, so that the same key is the same job, else at random."""
        key = idempotency_key(exchange)
        if key is None:
            return f"{self._policy.queue}.{base64.urlsafe_b64encode(os.urandom(18)).decode()}"
        named = "\n".join((owner, self._endpoint.name, exchange.scope["path"], key)).encode()
        _, signature = self._ring.sign("job id", named)
        return f"{self._policy.queue}.{base64.urlsafe_b64encode(bytes.fromhex(signature)[:18]).decode()}"

    def _request(
        self, exchange: Exchange, headers: Sequence[Header], body: bytes, callback: Callback | None
    ) -> JobRequest:
        scope = exchange.scope
        return JobRequest(
            endpoint=self._endpoint.name,
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b""),
            root_path=scope.get("root_path", ""),
            scheme=scope.get("scheme", "http"),
            headers=tuple(headers),
            body=body,
            principal=exchange.principal,
            client=exchange.client,
            timeout=self._timeout,
            max_result=self._policy.max_result,
            refund=self._refund(exchange),
            at_rest=self._at_rest,
            callback=callback,
        )

    def _refund(self, exchange: Exchange) -> Refund | None:
        charges = self._charges
        if charges is None:
            return None
        key = account_key(self._runtime.keys, self._identity(exchange))
        return Refund(key, charges.amount, frozenset(charges.refund_on), self._runtime.config.accounts.journal)

    async def _waited(self, record: Record, seconds: int) -> Record:
        """Look at the job until it has ended, for so many seconds at most."""
        clock = self._runtime.clock
        until = clock.now() + seconds * SECOND
        pause = _FIRST_LOOK
        while not record.ended and clock.now() < until:
            await clock.sleep(pause)
            pause = min(_NEXT_LOOK, pause * 1.5)
            record = await self._queue.look(record.id) or record
        return record

    async def _result(self, exchange: Exchange, job: str) -> JobResult | None:
        """Return a job's result; None where there is none, or it does not open."""
        if (stored := await self._queue.result(job)) is None:
            return None
        tenant = tenant_of(exchange.principal)
        try:
            plain = self._envelopes.result(job, self._endpoint.name, stored, tenant, at_rest=self._at_rest)
        except ValueError:
            return None
        return JobResult.read(plain)

    def _accepted(self, exchange: Exchange, record: Record, preferred: Sequence[str]) -> Response:
        body: dict[str, object] = {"id": record.id, "status": record.status}
        headers = {"retry-after": str(RETRY_AFTER), "cache-control": "no-store"}
        if self._location is not None:
            path = exchange.scope.get("root_path", "") + self._location.replace("{job_id}", record.id)
            body["links"] = {"self": path, "result": path + "/result"}
            headers["location"] = path
        if "respond-async" in preferred:
            headers["preference-applied"] = "respond-async"
        return JSONResponse(body, 202, headers)


def idempotency_key(exchange: Exchange) -> str | None:
    """Return the key that makes two calls the same job: that of the claim where there is one, else the header's."""
    claim = exchange.notes.get(CLAIM)
    if isinstance(claim, LedgerClaim):
        return claim.id
    given = next((value for name, value in exchange.scope["headers"] if name == b"idempotency-key"), None)
    return given.decode("latin-1") if given else None


def owner_of(exchange: Exchange, identity: Sequence[str] | None = None) -> str:
    """Return whose jobs these are, as a digest: the principal's, else those of a client address."""
    if identity is None:
        principal = exchange.principal
        if principal is None:
            identity = ("client", exchange.client)
        else:
            identity = ("principal", principal.issuer, principal.subject)
    return digest(*identity)


async def _body(receive: Receive, most: int) -> bytes | None:
    """Read the whole body; None when it is larger than allowed."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _CallerLeft
        size += len(message.get("body", b""))
        if size > most:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _preferences(scope: Scope) -> list[str]:
    values = [value for name, value in scope["headers"] if name == b"prefer"]
    return [part.strip().lower() for part in b",".join(values).decode("latin-1").replace(";", ",").split(",")]


def _wait(preferred: Sequence[str]) -> int:
    found = (_WAIT.fullmatch(each) for each in preferred)
    return min(LONGEST_WAIT, next((int(each[1]) for each in found if each), 0))


def _query(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")
