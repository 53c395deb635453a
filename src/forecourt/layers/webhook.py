"""Webhook: lets in what its sender signed, once.

`EndpointPolicy(webhook=Webhook(scheme="github", secrets=["env:GITHUB_SECRET"]))` turns it on. It stands below the
limits and the largest body, as it reads the whole body to verify it, once, and above all that costs; the handler reads
the same bytes. A sender is no principal: `security` may be off beside it.

What was let in is known again by its id (Standard Webhooks) or its signature: a lease of one place in the exchange's
trip, held while the handler works, kept for `remember` when it answered below 400 (before the last byte leaves), given
back when the signature or the handler failed, so that the sender's next try is welcome. A process that dies frees it
within the lease.

Refuses with 400 where the fields are missing or cannot be read, 403 for a signature that is wrong or too old, 409 for
what was let in before, 413 for too large a body, and 503 with the store down.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from forecourt.core.caching.keys import combined
from forecourt.core.inbound import Signed, read
from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.bodies import again, whole
from forecourt.layers.max_body import TOO_LARGE
from forecourt.leases import Kept
from forecourt.policies.webhook import Webhook
from forecourt.responses import STORE_UNAVAILABLE, TYPES, Problem, Refusal
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

LEASE = 15 * SECOND
"""µs for which a process that died keeps a sender's next try away."""

MALFORMED = Problem(
    400, "Bad Request", TYPES + "webhook-malformed", "The fields that sign this webhook are missing or cannot be read."
)
NOT_SIGNED = Problem(
    403, "Forbidden", TYPES + "webhook-not-signed", "The signature is not its sender's, or too old; nothing was done."
)
REPLAYED = Problem(
    409, "Conflict", TYPES + "webhook-replayed", "This webhook was received before, or is being received."
)


class _Note(NamedTuple):
    """What is known of one call before its body is read."""

    signed: Signed
    key: str


class WebhookLayer:
    """Verifies what one endpoint receives; see the module for what it answers."""

    settles = True

    def __init__(self, app: ASGIApp, *, policy: Webhook, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._scheme = policy.scheme
        self._secrets = policy.keys()
        self._tolerance = policy.tolerated()
        self._once = not policy.replay
        self._remember = policy.remembered()
        self._most = policy.max_body
        self._endpoint = endpoint.name
        self._keys = runtime.keys
        self._clock = runtime.clock
        self._heartbeat = runtime.heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; read and verify; call on with the same body."""
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        body = await whole(receive, self._most)
        if body is None:
            return None  # the sender has left
        note: _Note = exchange.notes[self]
        if len(body) > self._most:
            return await self._refuse(exchange, TOO_LARGE)(scope, receive, send)
        if not note.signed.by(self._secrets, body):
            return await self._refuse(exchange, NOT_SIGNED)(scope, receive, send)
        exchange.decided("webhook", "allowed")
        await self.app(scope, again(body, receive), send)

    def questions(self, exchange: Exchange) -> Sequence[Question] | ASGIApp:
        """Ask to be the one who receives it; refuse what cannot be right."""
        signed = read(self._scheme, combined(exchange.scope["headers"]))
        if signed is None:
            return self._refuse(exchange, MALFORMED)
        if not signed.fresh(self._clock.now() // SECOND, self._tolerance):
            return self._refuse(exchange, NOT_SIGNED)
        key = self._keys.key("webhook", self._endpoint, "webhook", self._endpoint, signed.id)
        exchange.notes[self] = _Note(signed, key)
        return (Question("lease", key, (1, LEASE, exchange.id, 0, 1), "closed"),) if self._once else ()

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Hold the place; refuse where another has it, or had."""
        (answer,) = answers
        if not answer.values:
            exchange.decided("webhook", "unavailable")
            return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
        if answer.verdict == "refuse":
            exchange.decided("webhook", "replayed")
            return exchange.refuse(REPLAYED)
        if answer.granted:
            self._heartbeat.keep(self._kept(exchange), (exchange.id,))
        return None

    def settlements(self, exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Know it again where the handler took it; give the place back otherwise."""
        kept = self._kept(exchange)
        self._heartbeat.drop(kept, (exchange.id,))
        if exchange.status is None or exchange.status >= 400 or exchange.broken:
            yield Settlement("lease_release", kept.key, (exchange.id,))
        else:
            yield Settlement("lease_renew", kept.key, (self._remember, exchange.id), durable=True)

    def _kept(self, exchange: Exchange) -> Kept:
        note: _Note = exchange.notes[self]
        return Kept("lease_renew", note.key, LEASE)

    def _refuse(self, exchange: Exchange, problem: Problem) -> Refusal:
        exchange.decided("webhook", "refused")
        return exchange.refuse(problem)
