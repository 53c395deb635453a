"""What a layer decided of one call, told to whoever observes: metrics, logs, spans, an app's own hook.

A layer says it in one line, `exchange.decided("rate_limit", "refused")`, where it knows. With nobody listening that is
one look at an empty list. The words are few and fixed, because they become labels: never a path, a caller or a key.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from forecourt.types import Clock

Outcome = Literal[
    "allowed",  # went on
    "refused",  # answered by this layer with a refusal
    "shadowed",  # would have been refused, had the policy not been a shadow
    "degraded",  # let pass by a failure policy, as the store did not answer
    "unavailable",  # refused, as the store did not answer or had too much to do
    "waited",  # went on after it waited
    "settled",  # what was reserved has been settled; `amount` says at how much
    "anonymous",  # let in without credentials
    "challenged",  # refused for want of valid credentials
    "forbidden",  # refused for want of a scope or role
    "claimed",  # the first with its idempotency key
    "replayed",  # answered with the stored answer of an earlier call
    "conflict",  # another call with this key is at work, or was another request
    "hit",  # answered from the cache, fresh
    "stale",  # answered from the cache, stale
    "miss",  # not in the cache, or no longer fresh there
    "revalidated",  # stale, and confirmed by the handler
    "collapsed",  # waited for another call that fills the cache
    "bypassed",  # not for the cache, or a request that wants nothing kept
    "stored",  # kept for later calls
    "invalidated",  # what it writes is made invalid in the cache
    "closed",  # the breaker is, or became, closed
    "open",  # the breaker is, or became, open
    "half_open",  # the breaker lets a probe pass
    "attempt",  # one attempt begins; `amount` says which, from 1
    "exhausted",  # no attempt or retry budget is left
    "timed_out",  # took too long
    "queued",  # handed to a worker
    "failed",  # broke
    "called",  # a deprecated endpoint was called
    "mismatched",  # another endpoint ran than the one resolved
]
"""Every word that can be said; a label with them is bounded."""


class Decision(NamedTuple):
    """One decision: the layer's name in the stack, what it was, and when, in µs since the epoch.

    `detail` is a word of the config, such as the name of a limit; `amount` a number, such as credits or the attempt.
    """

    layer: str
    outcome: Outcome
    at: int
    detail: str = ""
    amount: int = 0


_new = tuple.__new__
"""Makes a named tuple without its Python constructor: several for each request."""


class Timed(Protocol):
    """What knows the time: the runtime of an exchange."""

    clock: Clock


class Observed(Protocol):
    """What has listeners: an exchange."""

    @property
    def listeners(self) -> list[Callable[[Decision], object]]:
        """Who is told what layers decide; each observer adds itself when the exchange reaches it."""
        ...

    @property
    def runtime(self) -> Timed:
        """What knows the time."""
        ...


def decided(self: Observed, layer: str, outcome: Outcome, detail: str = "", amount: int = 0) -> None:
    """Tell observers what a layer decided; with nobody listening this costs next to nothing.

    A method of every exchange: `exchange.decided("rate_limit", "refused", limit.name)`. `detail` is a word of the
    config, never anything of the request.
    """
    if self.listeners:
        decision = _new(Decision, (layer, outcome, self.runtime.clock.now(), detail, amount))
        for tell in self.listeners:
            tell(decision)
