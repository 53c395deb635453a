"""The chains of a stack, by endpoint: what they were compiled from, and which of them a call goes through."""

import weakref
from collections.abc import Awaitable

from forecourt.exchange import KEY, Chain, Exchange
from forecourt.layers.flood_guard import FloodGuardCounter
from forecourt.live import Epoch
from forecourt.responses import INTERNAL_ERROR
from forecourt.routing import Endpoint
from forecourt.types import ASGIApp, Receive, Scope, Send

Chains = dict[Endpoint | None, Chain]
"""By endpoint; None: what no route matches."""


class Compiled:
    """The chains of one stack under one config, and the grounds on which each was compiled."""

    def __init__(self, flood: FloodGuardCounter | None) -> None:
        self.flood = flood
        self.chains: Chains = {}
        self._grounds: dict[Endpoint | None, object] = {}

    def add(self, endpoint: Endpoint | None, chain: Chain, grounds: object) -> None:
        """Keep the chain of an endpoint."""
        self.chains[endpoint] = chain
        self._grounds[endpoint] = grounds

    def chain_on(self, endpoint: Endpoint | None, grounds: object) -> Chain | None:
        """Return the chain of an endpoint, if these were its grounds: with it stays what it has learnt."""
        return self.chains[endpoint] if endpoint in self.chains and self._grounds[endpoint] == grounds else None


class Dispatch:
    """Sends an exchange through the chain of its endpoint; an endpoint without one is refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.chains: Chains = {}
        """Compiled by the stack, anew when the app's routes or the config have changed."""
        self.older: weakref.WeakKeyDictionary[Epoch, Chains] = weakref.WeakKeyDictionary()
        """Those of earlier configs, as long as a call that began under one may come by."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Enter the chain."""
        exchange: Exchange = scope[KEY]
        chains = self._begun_under(exchange) if self.older else self.chains
        chain = chains.get(exchange.endpoint)
        if chain is None:
            return exchange.refuse(INTERNAL_ERROR)(scope, receive, send)
        exchange.enter(chain)
        return chain.app(scope, receive, send)

    def _begun_under(self, exchange: Exchange) -> Chains:
        epoch = exchange.notes.get(Epoch)
        return self.chains if epoch is None else self.older.get(epoch, self.chains)
