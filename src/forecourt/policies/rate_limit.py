"""The field `rate_limit`: one limit, or several that must all let a call pass."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, assert_never

from pydantic import PlainValidator, TypeAdapter

from forecourt.entry_points import names_in
from forecourt.policies.own_limits import GROUP, OwnLimit, own_limit, own_strategies
from forecourt.policies.quantities import exact
from forecourt.policies.strategies import (
    Debounce,
    FixedWindow,
    Operation,
    SlidingWindow,
    Throttle,
    TokenBucket,
)
from forecourt.policies.wording import Fault, nearest, not_allowed, refusal, refused

_Packaged = TokenBucket | FixedWindow | SlidingWindow | Throttle | Debounce
RateLimit = TokenBucket | FixedWindow | SlidingWindow | Throttle | Debounce | OwnLimit
"""Any limit; in files its `type` says which."""

_TYPES: dict[str, type[RateLimit]] = {
    "token_bucket": TokenBucket,
    "fixed_window": FixedWindow,
    "sliding_window": SlidingWindow,
    "throttle": Throttle,
    "debounce": Debounce,
}
_REASON = 'must be a limit, a list of limits, or "off"'


def local_operation(limit: RateLimit, tier: str | None = None) -> Operation:
    """Return what one process decides by itself while the store is down: `local_share` of the limit.

    A limit is rounded down, but not below what one call costs. The products may reach 2^53: Python decides,
    not Lua.
    """
    kind, args = limit.operation(tier)
    share = exact(limit.local_share)
    match limit:
        case TokenBucket():
            most, token_n, token_d, cost, shadow = args
            token = token_n / (token_d * share)
            args = (max(cost, math.floor(most * share)), token.numerator, token.denominator, cost, shadow)
        case FixedWindow() | SlidingWindow():
            most, window, cost, shadow = args
            args = (max(cost, math.floor(most * share)), window, cost, shadow)
        case Throttle():
            gap = args[0] / (args[1] * share)
            args = (gap.numerator, gap.denominator, *args[2:])
        case Debounce():
            pass
        case OwnLimit():
            args = (*limit.of_tier(tier).share(share), *args[-2:])
        case _:
            assert_never(limit)
    return kind, args


def _one(value: object) -> RateLimit:
    if isinstance(value, RateLimit):
        return value
    if not isinstance(value, Mapping):
        raise refused(value, _REASON)
    kind = value.get("type")
    model = _TYPES.get(kind) or own_limit(kind) if isinstance(kind, str) else None
    if model is None:
        raise refusal("RateLimit", [_wrong_type(value, kind)])
    return model.model_validate(value)


def _wrong_type(value: Mapping[str, object], kind: object) -> Fault:
    own = {name: strategy.limit for name, strategy in own_strategies().items()}
    types = {**_TYPES, **own}
    if kind is None:
        fitting = [name for name, model in types.items() if any(number in value for number in model.numbers)]
        return Fault(("type",), kind, f"must be given: {' or '.join(fitting or types)}")
    names = [*types, *(name for name in names_in(GROUP) if name not in types)]
    guess = nearest(kind, names) if isinstance(kind, str) else ""
    return Fault(("type",), kind, not_allowed(kind, f"must be {' or '.join(names)}{guess}"))


_several = TypeAdapter[tuple[RateLimit, ...]](
    tuple[Annotated[RateLimit, PlainValidator(_one)], ...],
)


def _limits(value: object) -> RateLimit | tuple[RateLimit, ...] | Literal["off"] | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value != "off":
            raise refused(value, _REASON + nearest(value, ["off"]))
        return "off"
    if not isinstance(value, list | tuple):
        return _one(value)
    if not value:
        raise refused(value, f"is empty: {_REASON}")
    limits = _several.validate_python(value)
    twice = _named_twice(limits)
    if twice:
        raise refusal("RateLimit", twice)
    return limits


def _named_twice(limits: Sequence[RateLimit]) -> list[Fault]:
    names = [limit.name for limit in limits]
    return [
        Fault((position, "name"), name, not_allowed(name, "another limit of this endpoint has this name"))
        for position, name in enumerate(names)
        if name is not None and name in names[:position]
    ]


RateLimits = Annotated[
    RateLimit | Sequence[RateLimit] | Literal["off"] | None,
    PlainValidator(_limits, json_schema_input_type=_Packaged | list[_Packaged] | Literal["off"] | None),
]
"""What the field takes; a list is kept as a tuple."""
