"""The rate limits as operators use them: look where a caller stands, and let a caller begin anew.

    limits = Limits(config, store)
    await limits.peek("create_record", ("client", "192.0.2.7"))
    await limits.reset("create_record", ("principal", issuer, subject))
    await limits.override("create_record", {"limit": 50}, lasts=3600)

An identity is a `Principal`, or what limits count by: ("principal", issuer, subject), ("client", address),
("tenant", tenant), ("header", name, value), ("function", name, value), and ("endpoint",) for all callers together. Only
limits that count this very identity are shown and reset, so that what a caller shares with others is never touched by
accident. Where a limit finds no principal, tenant, header or value it counts the client, or of a tenant's the
principal: that is what ("client", …) and ("principal", …) mean there.

A process remembers a refusal for up to a second (`stores.holds`): a reset shows everywhere within that. Calls that a
process holds from a batch, or that a process counted by itself while the store was down, are not seen from here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, cast

from pydantic import ValidationError

from forecourt.clients import Clients
from forecourt.config import EndpointLike, EndpointProtocol, JobConfig
from forecourt.config_overrides import KIND, Override, numbers_of, overrides_of
from forecourt.core.maintenance import Switch
from forecourt.errors import ConfigError, StoreDown
from forecourt.exchange import Exchange
from forecourt.layers.identities import Identity, identity_of, short, whole_of
from forecourt.layers.limits import named, state_of
from forecourt.ledger import Account
from forecourt.orders import Orders
from forecourt.policies.quantities import LONGEST, microseconds
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.wording import nearest, problems, unknown
from forecourt.principals import Keys, Principal, digest
from forecourt.routing import Endpoint
from forecourt.stores.contract import Question, Settlement, Store
from forecourt.types import SECOND, Clock, SystemClock

_VALUES = {"client": 1, "principal": 2, "tenant": 1, "header": 2, "function": 2, "endpoint": 0}
"""Kind of identity → how many values follow it."""

_UNKNOWN: list[EndpointProtocol] = ["any"]

_FALLS_BACK = ("principal", "tenant")
"""Keys of limits that may find none, beside headers and functions."""


class Standing(NamedTuple):
    """Where a caller stands with one limit.

    `remaining` of `limit` units are left, one more of them in `more_in` seconds (0: all are there); `passes` says
    whether a call would pass now. A throttle and a debounce have 1 unit: a call may start at once; a throttle lets it
    pass, too, when it may wait for its turn. A trailing debounce lets every call arrive. A shadow limit refuses nobody.
    """

    name: str
    remaining: int
    limit: int
    more_in: float
    passes: bool


class _Asked(NamedTuple):
    """One limit of an endpoint, and the key under which it counts an identity."""

    policy: RateLimit
    name: str
    key: str


class Limits:
    """The limits of a config, in an open store.

    `endpoints` are the app's own, where they are known: then a name that none of them has is refused, and so is what
    their protocol cannot have. Every method raises StoreDown or StoreOverloaded when the store does not answer,
    ConfigError for an endpoint that does not exist or has no limits, ValueError for an identity that cannot be, or
    that none of the endpoint's limits counts.
    """

    def __init__(
        self,
        config: JobConfig,
        store: Store,
        endpoints: Iterable[EndpointLike] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._endpoints = None if endpoints is None else list(endpoints)
        self._keys = Keys(config.namespace)
        self._clock = clock or SystemClock()
        self._orders = Orders(store, self._keys, self._clock)
        self._clients = Clients(ipv6_prefix=config.ipv6_prefix)

    async def peek(self, endpoint: str, identity: Account, tier: str | None = None) -> list[Standing]:
        """Return where a caller stands with each limit that counts it, in the config's order; consumes nothing.

        `tier` (or a principal's own) says whose numbers hold.
        """
        if isinstance(identity, Principal) and tier is None:
            tier = identity.tier
        asked = await self._as_changed(endpoint, self._counting(endpoint, identity), [self._identity(identity)])
        questions = {each.key: _question(each, tier) for each in asked}
        values = await self._values([question for question in questions.values() if question])
        return [_standing(each, tier, values.get(each.key)) for each in asked]

    async def look(self, exchange: Exchange, endpoint: Endpoint) -> list[Standing]:
        """Return where the caller of this exchange stands with each limit of an endpoint; consumes nothing."""
        policy = self._config.policy_for(endpoint.name, endpoint.protocol)
        tier = exchange.principal.tier if exchange.principal else None
        asked: list[_Asked] = []
        own: list[Identity] = []
        for limit, name, bucket in named(policy.rate_limit if policy else (), endpoint.name):
            identity = identity_of(limit.key, endpoint, self._config.key_functions, limit.name)(exchange)
            own.append(identity)
            asked.append(_Asked(limit, name, self._keys.key(state_of(limit.operation(None)[0]), bucket, *identity)))
        asked = await self._as_changed(endpoint.name, asked, own)
        questions = [question for question in (_question(each, tier) for each in asked) if question]
        values = await self._values(questions)
        return [_standing(each, tier, values.get(each.key)) for each in asked]

    async def reset(self, endpoint: str, identity: Account, name: str | None = None) -> list[str]:
        """Forget what was counted for a caller, by each limit that counts it or by the one of this name.

        Returns the names of the limits. A limit with a name is forgotten on all endpoints that share it.
        """
        asked = self._counting(endpoint, identity)
        chosen = [each for each in asked if name in (None, each.name)]
        if not chosen:
            known = [each.name for each in asked]
            guess = nearest(str(name), known) or f"; there is {' and '.join(known)}"
            raise ValueError(f'no limit of endpoint "{endpoint}" that counts this identity is called "{name}"{guess}')
        await self._store.settle([Settlement("forget", each.key, (), durable=True) for each in chosen])
        return [each.name for each in chosen]

    async def override(
        self,
        endpoint: str,
        numbers: Mapping[str, float],
        *,
        lasts: float | timedelta,
        identity: Account | None = None,
        name: str | None = None,
    ) -> list[Override]:
        """Have other numbers hold for so many seconds, in every process within one; return what was ordered.

        For all callers, or for the one of `identity`, whatever their tier; by the endpoint's one limit, or the one of
        this name. A limit with a name of its own is changed on all endpoints that share it. In place of an earlier
        override of the same. ConfigError where the config does not say `limit_overrides`; ValueError for numbers that
        the limit cannot have.
        """
        self._must_follow()
        until = _until(self._clock.now(), lasts)
        chosen = self._chosen(endpoint, identity, name)
        given = [
            Override("*" if each.policy.name else endpoint, each.name, who, numbers_of(numbers), until)
            for each, who in chosen
        ]
        for each, override in zip(chosen, given, strict=True):
            _fits(override, each[0].policy)
        for override in given:
            await self._orders.give(override.order())
        return given

    async def overrides(self) -> list[Override]:
        """Return the overrides that hold now."""
        now = self._clock.now()
        return [each for each in overrides_of(await self._orders.read()) if now < each.until]

    async def restore(self, endpoint: str, *, identity: Account | None = None, name: str | None = None) -> bool:
        """Take an override back before it ends; False where there was none."""
        chosen = self._chosen(endpoint, identity, name)
        spots = [f"{'*' if each.policy.name else endpoint} {each.name} {who}" for each, who in chosen]
        return any([await self._orders.take_back(KIND, spot) for spot in spots])

    def _must_follow(self) -> None:
        if not self._config.limit_overrides:
            raise ConfigError("limit_overrides: no process would follow; say limit_overrides = true and restart")

    def _chosen(self, endpoint: str, identity: Account | None, name: str | None) -> list[tuple[_Asked, str]]:
        """Return the limit that is meant, in each protocol of the endpoint, and the digest of who is (empty: all)."""
        if identity is not None and (own := self._identity(identity)) != ("endpoint",):
            found = self._counting(endpoint, identity)
            who = digest(*own)
        else:
            limits = (each for limits in self._policies(endpoint) for each in named(limits, endpoint))
            found, who = list(dict.fromkeys(_Asked(policy, shown, shown) for policy, shown, _ in limits)), ""
        chosen = [each for each in found if name in (None, each.name)]
        known = list(dict.fromkeys(each.name for each in (chosen or found)))
        if not chosen or (name is None and len(known) > 1):
            guess = nearest(str(name), known) if name else ""
            raise ValueError(f'which limit of endpoint "{endpoint}"? Say its name: {" or ".join(known)}{guess}')
        return [(each, who) for each in chosen]

    async def _as_changed(self, endpoint: str, asked: list[_Asked], own: Sequence[Identity]) -> list[_Asked]:
        """Return limits with the numbers that hold for a caller, whom they count as one of `own`."""
        if not self._config.limit_overrides:
            return asked
        digests = [digest(*each) for each in own]
        found = [each for each in await self.overrides() if Switch(each.glob).means(endpoint)]
        return [each._replace(policy=_changed(each, found, digests)) for each in asked]

    async def _values(self, questions: Sequence[Question]) -> Mapping[str, tuple[int, ...]]:
        if not questions:
            return {}
        answers = await self._store.decide(questions)
        if any(answer.degraded for answer in answers):
            raise StoreDown("to look at limits needs the store, which does not answer")
        return {
            question.key: cast("tuple[int, ...]", answer.values)
            for question, answer in zip(questions, answers, strict=True)
        }

    def _counting(self, endpoint: str, identity: Account) -> list[_Asked]:
        """Return the limits of an endpoint that count this identity, each key once."""
        own = self._identity(identity)
        policies = self._policies(endpoint)
        found: dict[str, _Asked] = {}
        for limits in policies:
            for policy, name, bucket in named(limits, endpoint):
                if _counts(policy.key, own):
                    whole = own if own != ("endpoint",) else whole_of(endpoint, policy.name)
                    key = self._keys.key(state_of(policy.operation(None)[0]), bucket, *whole)
                    found.setdefault(key, _Asked(policy, name, key))
        if not found:
            keys = sorted({policy.key for limits in policies for policy in limits})
            raise ValueError(f'the limits of endpoint "{endpoint}" count by {" and ".join(keys)}, not by {own[0]}')
        return list(found.values())

    def _policies(self, endpoint: str) -> list[tuple[RateLimit, ...]]:
        """Return the endpoint's limits: of each handler of that name, because a WebSocket may have others."""
        if self._endpoints is None:
            protocols, known = _UNKNOWN, list(self._config.endpoints)
        else:
            protocols = [each.protocol for each in self._endpoints if each.name == endpoint]
            known = [each.name for each in self._endpoints]
        resolved = [self._config.policy_for(endpoint, protocol) for protocol in protocols]
        policies = [policy.rate_limit for policy in resolved if policy is not None]
        if not policies:
            raise ConfigError(f'there is no endpoint "{endpoint}"{nearest(endpoint, known)}')
        if not any(policies):
            raise ConfigError(f'endpoint "{endpoint}" has no rate limit')
        return policies

    def _identity(self, identity: Account) -> Identity:
        """Return an identity as limits spell it; ValueError for one that cannot be."""
        if isinstance(identity, Principal):
            return ("principal", identity.issuer, identity.subject)
        kind, *values = identity or ("",)
        if _VALUES.get(kind) != len(values):
            spelt = ", ".join(f"{each} with {count} values" for each, count in _VALUES.items())
            raise ValueError(f"an identity is one of {spelt}; this is {kind!r} with {len(values)}")
        if kind == "client":
            return (kind, self._clients.counted_as(values[0]))
        if kind == "header":
            return (kind, values[0].lower(), short(values[1]))
        return (kind, values[0], short(values[1])) if kind == "function" else (kind, *values)


def _counts(key: str, identity: Identity) -> bool:
    """Return whether a limit of this `key` may count this identity."""
    kind = identity[0]
    match kind:
        case "client":
            return key != "endpoint"
        case "principal":
            return key in _FALLS_BACK
        case "header":
            return key.lower() == f"header:{identity[1]}"
        case "function":
            return key == identity[1]
        case _:
            return key == kind


def _changed(asked: _Asked, overrides: Sequence[Override], digests: Sequence[str]) -> RateLimit:
    """Return the limit that holds: the caller's own override, else the one for all, else what the config says."""
    mine = {each.who: each for each in overrides if each.name == asked.name}
    override = next((mine[who] for who in (*digests, "") if who in mine), None)
    return (override.instead_of(asked.policy) if override else None) or asked.policy


def _fits(override: Override, policy: RateLimit) -> None:
    """Raise ValueError for numbers that a limit does not have, or cannot have."""
    for word, _ in override.numbers:
        if word not in policy.numbers:
            raise ValueError(f"{override.name}: {unknown(word, policy.numbers)}")
    if not override.numbers:
        raise ValueError(f"{override.name}: say at least one of {' and '.join(policy.numbers)}")
    try:
        override.of(policy)
    except ValidationError as error:
        raise ValueError("; ".join(problems(error, (override.name,)))) from None


def _until(now: int, lasts: float | timedelta) -> int:
    time = microseconds(lasts)
    if not 0 < time <= microseconds(LONGEST):
        raise ValueError(f"lasts={lasts!r}: must be greater than 0 and at most {LONGEST} seconds")
    return now + time


def _question(asked: _Asked, tier: str | None) -> Question | None:
    """Return what to ask without taking anything; None where there is nothing to ask."""
    kind, args = asked.policy.operation(tier)
    match kind:
        case "debounce_trailing":
            return None
        case "debounce":
            return Question("debounce_look", asked.key, (args[1],), "closed")
        case _:
            return Question(kind, asked.key, (*args[:-2], 0, 1), "closed")


def _standing(asked: _Asked, tier: str | None, values: tuple[int, ...] | None) -> Standing:
    kind, args = asked.policy.operation(tier)
    shadow = asked.policy.shadow
    if values is None:
        return Standing(asked.name, 1, 1, 0.0, passes=True)
    if kind == "debounce":
        return Standing(asked.name, values[0], 1, values[1] / SECOND, passes=shadow or values[0] == 1)
    remaining, _, more_in, *_ = values
    if kind == "throttle":
        return Standing(asked.name, remaining, 1, more_in / SECOND, passes=shadow or more_in <= args[2])
    enough = remaining >= asked.policy.cost * asked.policy.batch
    return Standing(asked.name, remaining, args[0], more_in / SECOND, passes=shadow or enough)
