"""Limits that operators have changed for a while: what this process knows of them.

Each is an order (`orders.py`) that `forecourt.Limits` gives. It changes numbers of one limit for all callers, or for
one of them, whatever their tier, and ends by itself. The chains of the endpoints that it is about are compiled anew,
so that it decides as a config with those numbers would.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from forecourt.core.maintenance import Switch
from forecourt.orders import Order, Orders, ends
from forecourt.policies.rate_limit import RateLimit
from forecourt.policies.wording import problems

logger = logging.getLogger("forecourt")

KIND = "limit"


class Override(NamedTuple):
    """Other `numbers` for the limit called `name` of endpoints, until an instant in µs since the epoch.

    `who`: the digest of the caller that it is about; empty: all callers.
    """

    glob: str
    name: str
    who: str
    numbers: tuple[tuple[str, float], ...]
    until: int

    @property
    def about(self) -> str:
        """What its order is called by: another override of the same takes its place."""
        return f"{self.glob} {self.name} {self.who}"

    def order(self) -> Order:
        """Return it as it stands in the book of orders."""
        said = {"endpoint": self.glob, "limit": self.name, "who": self.who, "numbers": dict(self.numbers)}
        return {"kind": KIND, "about": self.about, "until": self.until, **said}

    def of(self, policy: RateLimit) -> RateLimit:
        """Return a limit with these numbers in the place of its own; ValidationError where they do not fit it."""
        fields = {field: getattr(policy, field) for field in type(policy).model_fields}
        return type(policy).model_validate({**fields, "tiers": {}, **dict(self.numbers)})

    def instead_of(self, policy: RateLimit) -> RateLimit | None:
        """Return the limit that holds instead; None where the config has changed so that the numbers do not fit."""
        try:
            return self.of(policy)
        except ValidationError as error:
            logger.warning(
                "an override of limit %r does not fit it any more: %s", self.name, "; ".join(problems(error))
            )
            return None


class Overridden:
    """The overrides that hold, as this process knows them."""

    def __init__(self) -> None:
        self.overrides: tuple[Override, ...] = ()
        self.changed: Callable[[], object] | None = None
        """Called when they differ."""

    def __repr__(self) -> str:
        return f"<Overridden, {len(self.overrides)} limits>"

    def bind(self, orders: Orders) -> None:
        """Follow these orders."""
        orders.hear(KIND, self._follow)

    def of(self, endpoint: str) -> tuple[Override, ...]:
        """Return those that are about an endpoint."""
        return tuple(each for each in self.overrides if Switch(each.glob).means(endpoint))

    def _follow(self, orders: Sequence[Order]) -> None:
        self.overrides = overrides_of(orders)
        if self.changed is not None:
            self.changed()


def overrides_of(orders: Sequence[Order]) -> tuple[Override, ...]:
    """Return the overrides among some orders; what is of another form is none."""
    return tuple(each for order in orders if order["kind"] == KIND and (each := _read(order)) is not None)


def _read(order: Order) -> Override | None:
    glob, name, who = (order.get(word) for word in ("endpoint", "limit", "who"))
    numbers, until = order.get("numbers"), ends(order)
    if not (isinstance(glob, str) and isinstance(name, str) and isinstance(who, str) and isinstance(numbers, Mapping)):
        return None
    return None if until is None else Override(glob, name, who, tuple(sorted(numbers.items())), until)


def numbers_of(said: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return numbers in the order of their names, as JSON keeps them."""
    return tuple(sorted((str(name), json.loads(json.dumps(value))) for name, value in said.items()))
