"""The limits of one endpoint, compiled: all that a policy says, computed once, so that a request only adds its key.

A limit with `batch=k` (one key for all callers, `key="endpoint"`) takes k calls from the store at a time and gives them
out in this process. Up to k calls a process may outlive the window they were taken in, and a window's last k-1 may go
unused: the error is at most k for each process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from forecourt.core.operations import Value
from forecourt.exchange import Exchange
from forecourt.layers.identities import Identity, identity_of
from forecourt.limit_fields import Quota, Standing
from forecourt.policies.own_limits import OwnLimit, own_strategies
from forecourt.policies.rate_limit import RateLimit, local_operation
from forecourt.principals import Principal, known_digest
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.types import SECOND

_PROMISES: dict[str, Callable[[Sequence[int]], tuple[int, Fraction]]] = {
    "token_bucket": lambda args: (args[0], Fraction(args[0] * args[1], args[2])),
    "fixed_window": lambda args: (args[0], Fraction(args[1])),
    "sliding_window": lambda args: (args[0], Fraction(args[1])),
    "sliding_log": lambda args: (args[0], Fraction(args[1])),
    "throttle": lambda args: (1, Fraction(args[0], args[1])),
    "debounce": lambda args: (1, Fraction(args[0])),
    "debounce_trailing": lambda args: (1, Fraction(args[0])),
}
"""Operation → (units, per how many µs), from its arguments: what the RateLimit-Policy field says of it."""


STATES = {
    "token_bucket": "tb1",
    "fixed_window": "fw1",
    "sliding_window": "sw1",
    "sliding_log": "sl1",
    "throttle": "th1",
    "debounce": "db1",
    "debounce_trailing": "dt1",
}
"""Operation → what its keys say of the state they hold: strategy and version of its form, in few bytes."""


def state_of(kind: str) -> str:
    """Return what keys say of the state of a limit of this kind; of a strategy of one's own, its kind and version."""
    return STATES.get(kind) or f"{kind}{own_strategies()[kind].version}"


_MOST_KNOWN = 10_000

_new = tuple.__new__
"""Makes a named tuple without its Python constructor."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One limit for the callers of a tier: its operation's arguments, those for this process alone, its promise."""

    args: tuple[int, ...]
    local_args: tuple[int, ...]
    cost: int
    quota: Quota
    known: dict[Identity, Question] = field(default_factory=dict)
    """What is asked for callers seen before: a question is the same each time, and their number is bounded."""


class Limit:
    """One limit of one endpoint."""

    def __init__(self, policy: RateLimit, name: str, bucket: str, endpoint: Endpoint, runtime: Runtime) -> None:
        self.count = policy.count
        self.kind, _ = policy.operation(None)
        self.shown = not policy.shadow and not self.kind.startswith("debounce")
        self._name = name
        self._bucket = bucket
        self._on_error = policy.on_store_error
        self._keys = runtime.keys
        self._identity = identity_of(policy.key, endpoint, runtime.config.key_functions, policy.name)
        self._by_arrival = self.kind == "debounce_trailing"
        self.batch = policy.batch
        self.others: Mapping[str, Limit] = {}
        """The limits of callers for whom operators have changed this one, by the digest of who they are."""
        self._in_hand = 0
        self._default = self._tier(policy, None)
        self._tiers = {tier: self._tier(policy, tier) for tier in policy.tiers}

    def question(self, exchange: Exchange) -> Question:
        """Ask for this exchange's cost, under its caller's key and tier."""
        if self.others and (other := self.of(exchange)) is not self:
            return other.question(exchange)
        tier = self._default if exchange.principal is None else self._tier_of(exchange.principal)
        identity = self._identity(exchange)
        question = tier.known.get(identity) or self._remember(tier, identity)
        return _arriving(question, exchange.id) if self._by_arrival else question

    def of(self, exchange: Exchange) -> "Limit":
        """Return the limit of this exchange's caller: this one, unless it was changed for them."""
        return self.others.get(known_digest(*self._identity(exchange)), self)

    def in_hand(self) -> bool:
        """Take a call that this process took from the store beforehand (`batch`); False when it has none."""
        if not self._in_hand:
            return False
        self._in_hand -= 1
        return True

    def granted(self) -> None:
        """Keep what a granted batch holds beyond the call that asked."""
        self._in_hand += self.batch - 1

    def put_back(self) -> None:
        """Keep a call that was in hand and then not made."""
        self._in_hand += 1

    def quota(self, exchange: Exchange) -> Quota:
        """Return what this limit promises its caller."""
        limit = self.of(exchange) if self.others else self
        return limit._tier_of(exchange.principal).quota

    def standing(self, principal: Principal | None, values: Sequence[Value], *, granted: bool = True) -> Standing:
        """Return where its caller stands; what another limit's refusal left untaken is still there."""
        tier = self._default if principal is None else self._tier_of(principal)
        remaining, reset = values[0], values[2]
        if TYPE_CHECKING:
            assert isinstance(remaining, int)
            assert isinstance(reset, int)
        if not granted and not values[1]:
            remaining = min(tier.quota.limit, remaining + tier.cost)
        return _new(Standing, (tier.quota, remaining, reset))

    def delay(self, answer: Answer) -> int:
        """Return how many µs a throttled call waits for its slot."""
        return int(answer.values[5]) if self.kind == "throttle" and answer.values else 0

    def give_back(self, question: Question, answer: Answer) -> Settlement:
        """Return what was taken to whoever granted it, where that is still of use to the caller."""
        tickets = answer.values[3:5] if self.kind == "throttle" else answer.values[3:4]
        args = (question.local_args if answer.degraded else None) or question.args
        return Settlement(f"{self.kind}_back", question.key, (*args[:-1], *tickets), local=answer.degraded)

    def _remember(self, tier: Tier, identity: Identity) -> Question:
        if len(tier.known) >= _MOST_KNOWN:
            tier.known.clear()
        key = self._keys.key(state_of(self.kind), self._bucket, *identity)
        question = tier.known[identity] = Question(self.kind, key, tier.args, self._on_error, tier.local_args)
        return question

    def _tier_of(self, principal: Principal | None) -> Tier:
        if principal is None or principal.tier is None:
            return self._default
        return self._tiers.get(principal.tier, self._default)

    def _tier(self, policy: RateLimit, tier: str | None) -> Tier:
        if policy.batch > 1:
            policy = policy.model_copy(update={"cost": policy.cost * policy.batch})
        kind, args = policy.operation(tier)
        own = policy.of_tier(tier).promise() if isinstance(policy, OwnLimit) else None
        units, microseconds = own or _PROMISES[kind](args)
        window = -(-microseconds // SECOND) if microseconds >= SECOND else 0
        return Tier(args, local_operation(policy, tier)[1], policy.cost, Quota(self._name, units, window))


def compiled(policies: Sequence[RateLimit], endpoint: Endpoint, runtime: Runtime) -> list[Limit]:
    """Compile an endpoint's limits; those without a name are called after their strategy, and numbered if it recurs."""
    overrides = runtime.config.overridden.of(endpoint.name)
    limits = []
    for policy, shown, bucket in named(policies, endpoint.name):
        limit = Limit(policy, shown, bucket, endpoint, runtime)
        others: dict[str, Limit] = {}
        for override in overrides:
            changed = override.instead_of(policy) if override.name == shown else None
            if changed is not None:
                others[override.who] = Limit(changed, shown, bucket, endpoint, runtime)
        limit = others.pop("", limit)
        limit.others = others
        limits.append(limit)
    return limits


def named(policies: Sequence[RateLimit], endpoint: str) -> Iterator[tuple[RateLimit, str, str]]:
    """Yield each limit of an endpoint, what it is called, and the name of its bucket in keys."""
    seen: dict[str, int] = {}
    for policy in policies:
        name = policy.name or policy.operation(None)[0]
        seen[name] = seen.get(name, 0) + 1
        shown = f"{name}-{seen[name]}" if seen[name] > 1 else name
        number = f"~{seen[name]}" if seen[name] > 1 else ""
        yield policy, shown, f"@{policy.name}" if policy.name else f"{endpoint}{number}"


def _arriving(question: Question, own: str) -> Question:
    """Return the question of this one arrival, which later ones are told apart from by its exchange's id."""
    local_args = (*question.local_args, own) if question.local_args is not None else None
    return question._replace(args=(*question.args, own), local_args=local_args)
