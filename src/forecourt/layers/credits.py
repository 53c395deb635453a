"""Credits: charges a call to its caller's account, and refuses those who cannot pay.

`EndpointPolicy(credits=Credits(amount=…))` turns it on; `JobConfig.accounts` says what callers are given. It stands
below idempotency, so that only new work is charged, and above the cache, so that a hit is charged unless `refund_on`
says "hit". The amount is reserved in the exchange's one trip, in one group with the idempotency claim: a refused
charge leaves no claim. When the response has ended it is settled: at the price the handler gave
(`request.state.forecourt.charge(n)`), else at the fixed amount, and at nothing for the outcomes of `refund_on` and
where the handler never ran. A call that was cancelled after its first byte pays what it used. A reservation is
renewed while the work goes on, and comes back by itself within its `hold` if the process dies.

Refuses with 429, Retry-After until the renewal and the type `quota-exceeded` where waiting for the quota helps, else
with 402 (`balance-exhausted`); both tell the `balance`. With the store down it refuses with 503: nobody works for
nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from forecourt.exchange import Exchange, exchange_of
from forecourt.layers.identities import identity_of
from forecourt.layers.outcomes import tell_answer
from forecourt.leases import Kept
from forecourt.ledger import account_key
from forecourt.policies import Credits
from forecourt.responses import INTERNAL_ERROR, STORE_UNAVAILABLE, TYPES, Problem, Refusal, limit_exceeded
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND, ASGIApp, Receive, Scope, Send

NAME = "credits"
"""What the limit is called in problems."""

HIT = "cache hit"
"""The note that an answer came from the cache: whoever answers so sets `exchange.notes[HIT]`."""

CLAIM = "claim"
"""The note of a layer above that carries calls out once: a `LedgerClaim`, gone when nothing was carried out."""


class LedgerClaim(NamedTuple):
    """What a call is known by in the ledger, in every attempt, and for how many µs its payment is remembered."""

    id: str
    keep: int


@dataclass(slots=True)
class _Charge:
    """What this layer knows of one charge: account, id, whether the call got past here, and was cancelled."""

    key: str
    id: str
    reached: bool = False
    cancelled: bool = False


class CreditsLayer:
    """Charges the calls of one endpoint; see the module for what it answers."""

    settles = True

    def __init__(self, app: ASGIApp, *, policy: Credits, endpoint: Endpoint, runtime: Runtime) -> None:
        self.app = app
        self._amount = policy.amount
        self._refund_on = policy.refund_on
        self._ttl = policy.ttl()
        self._accounts = runtime.config.accounts
        self._keys = runtime.keys
        self._identity = identity_of("principal", endpoint, {})
        self._heartbeat = runtime.heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask; refuse and return, or call on and see how that ends."""
        exchange = exchange_of(scope)
        if refused := await exchange.ask(self):
            return await refused(scope, receive, send)
        charge = _charge(exchange, self)
        charge.reached = True
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            charge.cancelled = True
            raise

    def questions(self, exchange: Exchange) -> Sequence[Question]:
        """Ask to reserve the amount, as an attempt of the claim where there is one: a retry after a crash pays once."""
        principal = exchange.principal
        terms = self._accounts.terms(principal.tier if principal else None)
        key = account_key(self._keys, self._identity(exchange))
        claim = exchange.notes.get(CLAIM)
        own = f"{claim.id}/{exchange.id}" if isinstance(claim, LedgerClaim) else exchange.id
        charge = exchange.notes[self] = _Charge(key, own)
        args = (self._amount, self._ttl, charge.id, *terms, self._accounts.journal)
        return (Question("credits_charge", key, args, "closed"),)

    def answered(self, exchange: Exchange, answers: Sequence[Answer]) -> Refusal | None:
        """Tell the exchange the balance; keep a reservation that was granted, refuse where there is none."""
        (answer,) = answers
        tell_answer(exchange, NAME, answer)
        if not answer.values:
            return exchange.refuse(STORE_UNAVAILABLE, retry_after=1)
        exchange.balance = int(answer.values[0])
        if answer.granted:
            self._heartbeat.keep(self._kept(exchange), (_charge(exchange, self).id,))
        return None if answer.verdict == "go" else _refusal(exchange, exchange.balance, wait=int(answer.values[1]))

    def settlements(self, exchange: Exchange, _answers: Sequence[Answer]) -> Iterable[Settlement]:
        """Settle at the price of what became of the call."""
        kept, own = self._kept(exchange), _charge(exchange, self).id
        self._heartbeat.drop(kept, (own,))
        claim = exchange.notes.get(CLAIM)
        keep = claim.keep if isinstance(claim, LedgerClaim) else 0
        price = self._price(exchange)
        exchange.decided(NAME, "settled", amount=price)
        yield Settlement("credits_settle", kept.key, (price, own, keep, self._accounts.journal))

    def _kept(self, exchange: Exchange) -> Kept:
        return Kept("credits_hold", _charge(exchange, self).key, self._ttl)

    def _price(self, exchange: Exchange) -> int:
        charge = _charge(exchange, self)
        if (
            not charge.reached
            or _refused_inside(exchange)
            or not self._refund_on.isdisjoint(_outcomes(exchange, charge))
        ):
            return 0
        return self._amount if exchange.price is None else exchange.price


def _charge(exchange: Exchange, layer: CreditsLayer) -> _Charge:
    return cast("_Charge", exchange.notes[layer])


def _refused_inside(exchange: Exchange) -> bool:
    """Whether a layer below answered instead of the handler; a failure and a timeout are outcomes of the handler's."""
    refused = exchange.refused
    return refused is not None and refused is not INTERNAL_ERROR and refused.status != 504


def _outcomes(exchange: Exchange, charge: _Charge) -> set[str]:
    """Return the words of `refund_on` that say what became of the call."""
    status = exchange.status
    if status is None:
        return {"cancelled" if charge.cancelled else "5xx"}
    outcomes = {"hit"} if exchange.notes.get(HIT) else set()
    if status == 304:
        outcomes.add("304")
    if status == 504 and exchange.refused is not None:
        outcomes.add("timeout")
    elif status >= 400:
        outcomes.add("5xx" if status >= 500 else "4xx")
    return outcomes


def _refusal(exchange: Exchange, balance: int, wait: int) -> Refusal:
    if wait < 0:
        return exchange.refuse(_balance_exhausted(balance))
    problem = limit_exceeded([NAME])
    extensions = {**problem.extensions, "balance": balance}
    return exchange.refuse(replace(problem, extensions=extensions), -(-wait // SECOND))


def _balance_exhausted(balance: int) -> Problem:
    return Problem(
        402,
        "Payment Required",
        TYPES + "balance-exhausted",
        "The account's balance does not cover this call; nothing was done.",
        {"balance": balance},
    )
