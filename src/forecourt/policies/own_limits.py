"""Strategies of one's own: a limit's words, and the operation that decides it, in Python and in Lua.

A strategy is registered once, by `register_strategy` or by an installed package whose entry point of the group
`forecourt.strategies` is called like the limit's `type`. From then on it is a limit like those of the package, in
Python and in policy files: `rate_limit = { type = "lockout", … }`.

Its operation takes the limit's own arguments, then the call's cost, then 1 for a shadow, else 0. Its four values are
what is left, the µs until this call may pass (0: it passed; below 0: never), the µs until there is more, and a ticket
for giving back (0: none). A cost of 0 asks where the caller stands and counts nothing; a shadow is never refused.
`forecourt.testing.strategy_contract` compares both forms, and sees that they keep to this.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from forecourt.core.operations import Compute, Operation, known, register
from forecourt.entry_points import found_by
from forecourt.errors import ConfigError
from forecourt.policies.limit import Limit
from forecourt.policies.wording import Fault, fault, nearest

GROUP = "forecourt.strategies"
"""The entry points that are asked for a `type` that nobody registered."""

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SECTION = re.compile(r"^-- (compute|write|mark)$", re.MULTILINE)
_ANOTHER_KEY = re.compile(r"\$K(?!1\b)\d+")


class OwnLimit(Limit):
    """What a strategy of one's own takes from a config; a subclass adds `type`, its numbers, and what they mean.

    `type` has a default, as in `type: str = "lockout"`, and is never anything else; it names the operation too. The
    names of its number fields stand in `numbers`: tiers and overrides may change those.
    """

    type: str

    def arguments(self) -> tuple[int, ...]:
        """Return the operation's own arguments; the first is the most that may be left. Durations in µs."""
        raise NotImplementedError

    def promise(self) -> tuple[int, int]:
        """Return (units, per how many µs): what the RateLimit-Policy field says of it."""
        raise NotImplementedError

    def share(self, part: Fraction) -> tuple[int, ...]:
        """Return the arguments for one process while the store is down: the first, times `local_share`."""
        most, *others = self.arguments()
        return max(self.cost, math.floor(most * part)), *others

    def operation(self, tier: str | None = None) -> tuple[str, tuple[int, ...]]:
        """Return the kind and the arguments, with cost and shadow behind them."""
        own = self.of_tier(tier)
        return self.type, (*own.arguments(), own.cost, int(own.shadow))

    def faults(self) -> list[Fault]:
        """Return what makes this limit impossible; a subclass adds its own."""
        strategy = _strategies.get(self.type)
        if self.type != (kind := type(self).model_fields["type"].default):
            return [fault("type", self.type, f'must be "{kind}"')]
        if strategy is None:
            return [fault("type", self.type, "is of no strategy: say register_strategy(Strategy(…)) before")]
        wrong = super().faults()
        if self.batch > 1:
            wrong.append(fault("batch", self.batch, "must be 1: a strategy of one's own is asked call by call"))
        if self.count == "failure" and strategy.give_back is None:
            wrong.append(fault("count", self.count, "cannot be: this strategy has no give_back"))
        if not wrong and self.cost > (most := self.arguments()[0]):
            wrong.append(fault("cost", self.cost, f"must be at most {most}, or no call can ever pass"))
        return wrong


class Strategy(NamedTuple):
    """A way of limiting: its words, and how it decides.

    `take` decides in Python, `lua` is its twin as a fragment (`forecourt.stores.scripts` says how those are written).
    `give_back` and `give_back_lua` uncount a call, for `count="failure"`: told the arguments with the ticket in the
    place of the shadow. `version` counts forms of the state: another one reads other keys. With `held` a process
    refuses a caller that the strategy has refused by itself, for a second at most and never beyond the µs it said: for
    strategies whose refused calls change nothing.
    """

    limit: type[OwnLimit]
    take: Compute
    lua: str
    give_back: Compute | None = None
    give_back_lua: str | None = None
    version: int = 1
    held: bool = False

    @property
    def kind(self) -> str:
        """What it is called: the default of its limit's `type`."""
        return str(self.limit.model_fields["type"].default)


_strategies: dict[str, Strategy] = {}


def register_strategy(strategy: Strategy) -> Strategy:
    """Have stores decide it, and policies name it; again is nothing new. ConfigError where it cannot work."""
    kind = strategy.kind
    if _strategies.get(kind) == strategy:
        return strategy
    if wrong := _wrong(strategy):
        raise ConfigError(*(f"strategy {kind!r}: {each}" for each in wrong))
    register(Operation(kind, "limit", 4, strategy.take, lua=strategy.lua, held=strategy.held))
    if strategy.give_back is not None:
        register(Operation(f"{kind}_back", "settle", 0, strategy.give_back, lua=strategy.give_back_lua))
    _strategies[kind] = strategy
    return strategy


def own_strategies() -> Mapping[str, Strategy]:
    """Return the strategies that were registered, by their kind."""
    return _strategies


def own_limit(kind: str) -> type[OwnLimit] | None:
    """Return the limit of this `type`, of a registered strategy or of an installed one, which it registers.

    None where there is neither; ConfigError where what is installed is no strategy of this kind.
    """
    if kind not in _strategies:
        found = found_by(GROUP, kind)
        if found is None:
            return None
        if not isinstance(found, Strategy) or found.kind != kind:
            raise ConfigError(f"entry point {kind!r} of {GROUP}: it must name a Strategy whose limit has this type")
        register_strategy(found)
    return _strategies[kind].limit


def _wrong(strategy: Strategy) -> list[str]:
    """Return what is wrong with a strategy that is not registered."""
    limit, kind = strategy.limit, strategy.kind
    wrong = []
    if not _KIND.fullmatch(kind):
        wrong.append(f'{limit.__name__}.type must have a default, as in `type: str = "lockout"`')
    if known(kind) is not None or known(f"{kind}_back") is not None:
        wrong.append("there is an operation of this kind already")
    if not limit.numbers or (strange := [each for each in limit.numbers if each not in limit.model_fields]):
        guess = nearest(strange[0], limit.model_fields) if limit.numbers else ""
        wrong.append(f"{limit.__name__}.numbers must name its number fields{guess}")
    if limit.arguments is OwnLimit.arguments or limit.promise is OwnLimit.promise:
        wrong.append(f"{limit.__name__} must have arguments() and promise()")
    if (strategy.give_back is None) != (strategy.give_back_lua is None):
        wrong.append("give_back and give_back_lua go together")
    for name, text, section in (("lua", strategy.lua, "compute"), ("give_back_lua", strategy.give_back_lua, "write")):
        if text is not None and section not in _SECTION.findall(text):
            wrong.append(f"{name} must have a section that begins with the line `-- {section}`")
        if text is not None and _ANOTHER_KEY.search(text):
            wrong.append(f"{name} has one key, $K1")
    return wrong
