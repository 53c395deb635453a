"""What would be decided of a call now, and why, without carrying it out and without consuming anything.

What a layer decides from the request alone is asked of the layer itself: the very code that guards the service runs,
around nothing. The limits are looked at, an account's balance is read. The rest depends on what a process of the
service has seen, which nobody outside it can know: it is said to stand there, and why it is not decided here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from forecourt.errors import StoreError
from forecourt.exchange import Asks, Chain, Exchange
from forecourt.inspection import Guarded
from forecourt.layers.auth import AuthLayer
from forecourt.layers.authenticating import authentication_of
from forecourt.layers.clients import ClientsLayer
from forecourt.layers.content import ContentLayer
from forecourt.layers.cross_origin import CrossOriginLayer
from forecourt.layers.deprecation import DeprecationLayer
from forecourt.layers.identities import identity_of
from forecourt.layers.maintenance import MaintenanceLayer
from forecourt.layers.max_headers import MaxHeadersLayer
from forecourt.ledger import Ledger
from forecourt.limits import Limits, Standing
from forecourt.policies.security import Security
from forecourt.responses import render
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.shared import shared_by
from forecourt.stack import ROWS
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.types import ASGIApp, Message, Receive, Scope, Send

_ASKED_OF_THEMSELVES: Mapping[str, Callable[..., ASGIApp]] = {
    "max_headers": MaxHeadersLayer,
    "clients": ClientsLayer,
    "cross_origin": CrossOriginLayer,
    "maintenance": MaintenanceLayer,
    "deprecation": DeprecationLayer,
    "content": ContentLayer,
}

_NOT_HERE = {
    "flood_guard": "each process counts for itself",
    "concurrency": "depends on the calls at work",
    "max_body": "depends on the body",
    "webhook": "depends on the body",
    "idempotency": "depends on the key and the body",
    "cache": "depends on what is kept",
    "circuit_breaker": "each process learns for itself",
}

_READS = frozenset({"revoked", "key_find"})
"""The questions of auth that change nothing."""


class Verdict(NamedTuple):
    """What one layer would do: `passes`, `refuses`, `unknown` (see why), or `not reached`; `status` of a refusal."""

    layer: str
    verdict: str
    why: str
    status: int | None = None


class Explanation(NamedTuple):
    """What a call would meet; `endpoint` is None where no route matches, and the router itself answers.

    `caller` is the principal in words, or who the call would be without one.
    """

    endpoint: Endpoint | None
    params: Mapping[str, object]
    caller: str
    verdicts: tuple[Verdict, ...] = ()

    @property
    def refusal(self) -> Verdict | None:
        """The refusal that the caller would be given; None where nothing that can be known refuses."""
        return next((each for each in self.verdicts if each.verdict == "refuses"), None)


async def explain(guarded: Guarded, scope: Scope) -> Explanation:
    """Say what would be decided of a request or handshake now; ConfigError where a config cannot work."""
    endpoint, params = guarded.table.resolve(scope)
    if endpoint is None:
        return Explanation(None, {}, "nobody")
    shared = shared_by(guarded.config, None, None, render)
    store = shared.runtime.store
    runtime = Runtime(guarded.config, ReadingStore(store), shared.runtime.clock)
    exchange = Exchange(runtime, scope)
    exchange.endpoint, exchange.params = endpoint, params
    await store.open()
    try:
        await shared.read_orders()
        look = _Look(guarded, exchange, endpoint, store)
        await exchange.run(look, _nothing_comes, _nobody_hears)
    finally:
        for close in runtime.closing:
            await close()
        await store.close()
    principal = exchange.principal
    caller = f"{principal.subject} of {principal.issuer}" if principal else f"anonymous, from {exchange.client}"
    return Explanation(endpoint, params, caller, tuple(look.verdicts))


class ReadingStore:
    """A store that only reads: a question that would change anything goes unasked, and is answered with a yes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self) -> None:
        """Nothing: whoever has the store opens it."""

    async def close(self) -> None:
        """Nothing: whoever has the store closes it."""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask what only reads."""
        asked = iter(await self._store.decide([each for each in questions if each.kind in _READS]))
        return [next(asked) if each.kind in _READS else Answer("go") for each in questions]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Nothing is told."""


class _Look:
    """Goes through the layers of one endpoint, outermost first, until one refuses."""

    def __init__(self, guarded: Guarded, exchange: Exchange, endpoint: Endpoint, store: Store) -> None:
        self.verdicts: list[Verdict] = []
        self._exchange = exchange
        self._endpoint = endpoint
        self._store = store
        self._config = guarded.config
        self._layers = frozenset(guarded.layers)
        self._policy = guarded.config.policy_for(endpoint.name, endpoint.protocol)

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Look at each layer in turn."""
        refused = False
        for row in ROWS:
            if row.name not in self._layers or not self._stands(row.name):
                continue
            if refused:
                self.verdicts.append(Verdict(row.name, "not reached", "an outer layer refuses"))
                continue
            verdict = await self._verdict(row.name, scope)
            self.verdicts += [verdict] if verdict else []
            refused = verdict is not None and verdict.verdict == "refuses"

    def _stands(self, row: str) -> bool:
        if row == "flood_guard":
            return self._config.flood_guard is not None
        return self._policy is not None and bool(self._policy.fields.get(row) and self._policy.said(row))

    async def _verdict(self, row: str, scope: Scope) -> Verdict | None:
        if row == "security" or row in _ASKED_OF_THEMSELVES:
            return await self._of_the_layer(row, scope)
        if row in ("rate_limit", "credits"):
            look = self._of_limits if row == "rate_limit" else self._of_credits
            try:
                return await look()
            except StoreError as error:
                return Verdict(row, "unknown", str(error))
        return Verdict(row, "unknown", f"{_NOT_HERE[row]}; not decided from outside") if row in _NOT_HERE else None

    async def _of_the_layer(self, row: str, scope: Scope) -> Verdict:
        exchange = self._exchange
        heard: list[Message] = []

        async def tell(message: Message) -> None:
            heard.append(message)

        layer = self._layer(row)
        exchange.enter(Chain(layer, _asking(layer)))
        await layer(scope, _nothing_comes, tell)
        problem = self._exchange.refused
        if problem is None:
            return Verdict(row, "passes", self._known() if row == "security" else "")
        return Verdict(row, "refuses", f"{problem.title}: {problem.detail}{_challenge(heard)}", problem.status)

    def _known(self) -> str:
        return "who calls is known" if self._exchange.principal else "nobody need say who calls"

    def _layer(self, row: str) -> ASGIApp:
        runtime = self._exchange.runtime
        policy = self._policy.said(row) if self._policy else None
        if isinstance(policy, Security):
            return AuthLayer(_goes_on, policy=policy, runtime=runtime, authentication=authentication_of(runtime))
        return _ASKED_OF_THEMSELVES[row](_goes_on, policy=policy, endpoint=self._endpoint, runtime=runtime)

    async def _of_limits(self) -> Verdict:
        standings = await Limits(self._config, self._store).look(self._exchange, self._endpoint)
        why = "; ".join(map(_standing, standings))
        if self._config.store.startswith("memory:"):
            why += " (each process counts for itself; this one has counted nothing)"
        passes = all(each.passes for each in standings)
        return Verdict("rate_limit", "passes" if passes else "refuses", why, None if passes else 429)

    async def _of_credits(self) -> Verdict:
        charges = self._policy.credits if self._policy else None
        assert charges is not None, "the row stands where the policy charges"
        identity = identity_of("principal", self._endpoint, {})(self._exchange)
        principal = self._exchange.principal
        ledger = Ledger(self._store, self._config.namespace, self._config.accounts)
        balance = await ledger.balance(identity, principal.tier if principal else None)
        why = f"costs {charges.amount} of {balance.available} credits"
        enough = balance.available >= charges.amount
        return Verdict("credits", "passes" if enough else "refuses", why, None if enough else 402)


def _asking(layer: object) -> tuple[Asks, ...]:
    return (layer,) if isinstance(layer, Asks) else ()


def _standing(standing: Standing) -> str:
    more = f", one more in {standing.more_in:.3f} s" if standing.more_in else ""
    return f"{standing.name}: {standing.remaining} of {standing.limit} left{more}"


def _challenge(heard: list[Message]) -> str:
    """Return what a challenge says is wrong with the credentials; it holds nothing of theirs."""
    fields = [
        value.decode("latin-1")
        for message in heard
        for name, value in message.get("headers", ())
        if name == b"www-authenticate"
    ]
    return f" ({'; '.join(fields)})" if fields else ""


async def _goes_on(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand where the rest of the stack would."""


async def _nothing_comes() -> Message:
    return {"type": "http.disconnect"}


async def _nobody_hears(_message: Message) -> None:
    """Hear what nobody else does."""
