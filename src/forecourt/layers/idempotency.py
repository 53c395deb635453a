"""Idempotency: a call with a key is carried out once, and asked for again its answer is replayed.

`EndpointPolicy(idempotency=Idempotency())` turns it on (draft-ietf-httpapi-idempotency-key-header-07). It stands below
the limits, which every call meets, and above the credits: a replay costs nothing and runs nothing. Keys belong to a
caller and an endpoint; methods that only read, and WebSockets, pass by.

The claim is one question of the exchange's one trip, in one group with the charge, and is renewed while the handler
works. Its answer is in the store before its last byte leaves; a client that leaves does not stop the work. What became
of the claim `core.idempotency_rules.ending` decides.

Refuses with 400 (no key, malformed), 422 (the key belongs to another payload), 409 and Retry-After (at work; with
`wait` the answer is waited for first), 409 (outcome unknown, under `on_unknown`), 429 (as many records as a caller may
have). A replay carries `Idempotent-Replayed: true`. With the store down it refuses with 503: what cannot be claimed is
not carried out. With `database` the handler's own transaction keeps the record as well (`forecourt.db.idempotency`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forecourt.config_idempotency import SAFE
from forecourt.core.idempotency import BUSY, DONE, OUTCOME_UNKNOWN, TAKEN_OVER
from forecourt.core.idempotency_rules import Ending, Fingerprint, ending, kept_fields, parse_key
from forecourt.core.operations import Value
from forecourt.core.stored_response import StoredResponse, decode, encode
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.credits import CLAIM, LedgerClaim
from forecourt.layers.idempotency_answers import (
    BODY_NOT_KEPT,
    IN_PROGRESS,
    REUSED,
    TOO_MANY,
    UNKNOWN,
    Replay,
    malformed,
    missing,
)
from forecourt.layers.idempotency_request import ReadRequest
from forecourt.layers.idempotency_transaction import TRANSACTION, Transaction
from forecourt.layers.idempotency_wait import Waiting
from forecourt.layers.idempotency_work import Recorder, Work
from forecourt.layers.identities import identity_of
from forecourt.leases import Kept
from forecourt.policies.idempotency import Fingerprinted, Idempotency
from forecourt.policies.quantities import microseconds
from forecourt.principals import digest
from forecourt.responses import INTERNAL_ERROR, STORE_UNAVAILABLE, Refusal
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.sealing import seal_of, tenant_of
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

MOST_READ_AHEAD = 1024 * 1024
"""Bytes of a request that is compared before it is carried out by a second holder; a larger one is not."""


@dataclass(slots=True)
class _Claim:
    """What this layer knows of one claim: its record's key, its renewals, and the work that was done under it."""

    key: str
    records: str
    name: str
    holder: str
    before: bytes = b""
    work: Work | None = None
    returned: bool = False


class IdempotencyLayer:
    """Carries out the calls of one endpoint once per key; see the module for what it answers."""

    settles = True

    def __init__(self, app: ASGIApp, *, policy: Idempotency, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._header = policy.header
        self._field = policy.header.lower().encode("latin-1")
        self._required = policy.required
        self._ttl, self._lease = policy.times()
        self._wait = microseconds(policy.wait)
        self._retry = int(policy.on_unknown == "retry")
        self._errors_too = policy.on_unknown == "replay"
        self._most_body = policy.max_body
        self._most_records = policy.max_records
        self._fingerprint = policy.fingerprint
        self._pointers = policy.pointers()
        self._database = policy.database
        self._endpoint = endpoint.name
        self._identity = identity_of(policy.key or "principal", endpoint, runtime.config.key_functions)
        self._keys = runtime.keys
        self._seal = seal_of(runtime.config, "idempotency", endpoint.name)
        self._clock = runtime.clock
        self._heartbeat = runtime.heartbeat
        self._waiting = Waiting(runtime.store, runtime.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; replay or refuse and return, or have the handler do its work under the claim."""
        exchange = exchange_of(scope)
        if response := await exchange.ask(self):
            return await response(scope, receive, send)
        claim = exchange.notes.get(self)
        if not isinstance(claim, _Claim):
            return await self.app(scope, receive, send)
        request = ReadRequest(receive, self._started(scope), lambda known: self._know(exchange.id, claim, known))
        if claim.before and (refused := await self._another(exchange, claim, request)):
            return await refused(scope, receive, send)
        if self._database is not None:
            name = digest(claim.key)
            exchange.notes[TRANSACTION] = Transaction(
                self._database,
                name,
                self._ttl,
                self._most_body,
                request,
                lambda recorder: self._kept_as(exchange, claim, self._encoded(recorder)),
                lambda kept: self._plain(exchange, kept),
            )
        claim.work = Work(exchange, request, send, self._most_body)
        await claim.work.run(self.app, scope)

    def questions(self, exchange: Exchange) -> Sequence[Question] | Refusal:
        """Claim the key, where the caller has room for one more record; nothing without a key."""
        scope = exchange.scope
        if scope["type"] != "http" or scope["method"] in SAFE:
            return ()
        try:
            key = parse_key([value for name, value in scope["headers"] if name == self._field])
        except ValueError as error:
            return exchange.refuse(malformed(self._header, str(error)))
        if key is None:
            return exchange.refuse(missing(self._header)) if self._required else ()
        identity = self._identity(exchange)
        name = digest(self._endpoint, key)
        records = self._keys.key("idempotency", "kept", *identity)
        claim = _Claim(self._keys.key("idempotency", name, *identity), records, name, exchange.id)
        exchange.notes[self] = claim
        exchange.notes[CLAIM] = LedgerClaim(f"key-{name}", self._ttl)
        args = (self._ttl, self._lease, exchange.id, self._retry)
        return (
            Question("idempotency_claim", claim.key, args, "closed"),
            Question("idempotency_room", records, (self._most_records, name), "closed"),
        )

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> ASGIApp | None:
        """Hold a claim that was granted; replay, wait or refuse where another was there before."""
        claimed, room = answers
        claim = self._claim(exchange)
        if not claimed.values:
            exchange.decided("idempotency", "unavailable")
            return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
        if claimed.granted:
            exchange.decided("idempotency", "claimed")
            self._heartbeat.keep(self._kept(claim), (claim.holder,))
            claim.before = _bytes(claimed.values[2]) if claimed.values[0] == TAKEN_OVER else b""
        if claimed.verdict != "go":
            exchange.decided("idempotency", "replayed" if claimed.values[0] == DONE else "conflict")
            return self._found(exchange, claimed.values)
        if room.verdict != "go":
            exchange.decided("idempotency", "refused")
            return exchange.refuse(TOO_MANY, -(-int(room.values[1]) // SECOND))
        return None

    def settlements(self, exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Keep the answer, let the key go, or say that nobody knows; known before the last byte leaves."""
        claim = self._claim(exchange)
        self._heartbeat.drop(self._kept(claim), (claim.holder,))
        how = self._ending(exchange, claim)
        work, claim.work = claim.work, None  # it knows the exchange, which knows the claim: a cycle, were it kept
        if how == "release":
            exchange.notes.pop(CLAIM, None)  # what was not carried out is charged anew
            yield Settlement("idempotency_release", claim.key, (exchange.id,), durable=True)
            return
        fingerprint = work.request.fingerprint if work else claim.before
        if how == "complete" and work:
            answer = self._kept_as(exchange, claim, self._encoded(work.recorder))
            args = (exchange.id, self._ttl, fingerprint, answer)
            yield Settlement("idempotency_complete", claim.key, args, durable=True)
        else:
            args_unknown = (exchange.id, self._ttl, fingerprint)
            yield Settlement("idempotency_forsake", claim.key, args_unknown, durable=True)
        yield Settlement("idempotency_keep", claim.records, (claim.name, self._ttl), durable=True)

    def _ending(self, exchange: Exchange, claim: _Claim) -> Ending:
        if claim.returned:
            return "forsake"
        refused = exchange.refused
        by_another = refused is not None and refused is not INTERNAL_ERROR and refused.status != 504
        recorder = claim.work.recorder if claim.work else Recorder(0)
        ours = refused is not None and not by_another
        return ending(
            reached=claim.work is not None,
            refused=by_another,
            status=recorder.status,
            finished=recorder.finished,
            errors_too=self._errors_too and not ours,
        )

    async def _another(self, exchange: Exchange, claim: _Claim, request: ReadRequest) -> Refusal | None:
        """Refuse to carry out for a second holder what is another payload than the first one's."""
        known = await request.ahead(MOST_READ_AHEAD)
        if known and request.fingerprint == claim.before:
            return None
        claim.returned = True
        return exchange.refuse(REUSED if known else UNKNOWN)

    def _found(self, exchange: Exchange, values: Sequence[Value]) -> ASGIApp:
        """Return what answers to a record that was there: its answer, or why there is none."""
        if values[0] == BUSY:
            return self._later(exchange) if self._wait else exchange.refuse(IN_PROGRESS, retry_after=1)
        if values[0] == DONE:
            try:
                kept = decode(self._plain(exchange, _bytes(values[3])))
            except ValueError:
                return exchange.refuse(UNKNOWN)
            return Replay(kept, _bytes(values[2]), self._started)
        return exchange.refuse(UNKNOWN)

    def _later(self, exchange: Exchange) -> ASGIApp:
        """Return what waits for the one at work, and answers with what it finds then."""

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            values = await self._waiting.until_over(self._claim(exchange).key, self._wait)
            over = values is not None and (values[0] == DONE or (values[0] == OUTCOME_UNKNOWN and not self._retry))
            exchange.refused = None  # what the charge said, which was asked for as well, is no answer here
            response = self._found(exchange, values) if over and values else exchange.refuse(IN_PROGRESS, retry_after=1)
            await response(scope, receive, send)

        return waiting

    def _know(self, fence: str, claim: _Claim, fingerprint: bytes) -> None:
        """Have the next renewal tell the fingerprint."""
        holder, claim.holder = claim.holder, f"{fence}/{fingerprint.hex()}"
        self._heartbeat.keep(self._kept(claim), (claim.holder,))
        self._heartbeat.drop(self._kept(claim), (holder,))

    def _started(self, scope: Scope) -> Fingerprint:
        chosen = self._fingerprint
        parts = [part for name, part in _parts(scope) if name in chosen]
        return Fingerprint(parts, of_body="body" in chosen, pointers=self._pointers)

    def _encoded(self, recorder: Recorder) -> bytes:
        status = recorder.status or 0
        headers = kept_fields(recorder.headers, body=recorder.whole)
        flags = 0 if recorder.whole else BODY_NOT_KEPT
        try:
            return encode(StoredResponse(status, headers, b"".join(recorder.parts), self._clock.now(), flags))
        except ValueError:
            return encode(StoredResponse(status, (), b"", self._clock.now(), BODY_NOT_KEPT))

    def _kept_as(self, exchange: Exchange, claim: _Claim, answer: bytes) -> bytes:
        """Return an answer as the store keeps it: sealed, where the policy says so."""
        return answer if self._seal is None else self._seal.seal(answer, claim.key, tenant_of(exchange.principal))

    def _plain(self, exchange: Exchange, kept: bytes) -> bytes:
        """Return what `_kept_as` was given; ValueError where that cannot be known."""
        return (
            kept
            if self._seal is None
            else self._seal.open(kept, self._claim(exchange).key, tenant_of(exchange.principal))
        )

    def _kept(self, claim: _Claim) -> Kept:
        return Kept("idempotency_renew", claim.key, self._lease)

    def _claim(self, exchange: Exchange) -> _Claim:
        claim = exchange.notes[self]
        assert isinstance(claim, _Claim)
        return claim


def _parts(scope: Scope) -> list[tuple[Fingerprinted, bytes]]:
    """Return what a fingerprint may be made of, apart from the body."""
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    content_type = b",".join(value for name, value in scope["headers"] if name == b"content-type")
    return [
        ("method", scope["method"].encode("latin-1")),
        ("path", path),
        ("query", scope.get("query_string", b"")),
        ("content_type", content_type),
    ]


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""
