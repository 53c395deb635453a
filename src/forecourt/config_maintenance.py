"""The switch of a config's maintenance, for operators' code: `await config.maintenance.on("reports.*", lasts=1800)`.

What is switched is an order (`orders.py`): all processes follow within a second. The endpoints that can be switched are
those whose policy says `maintenance`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from forecourt.core.maintenance import Switch
from forecourt.errors import ConfigError, ForecourtError
from forecourt.orders import Order, Orders, ends
from forecourt.policies.endpoint import EndpointPolicy
from forecourt.policies.maintenance import Maintenance, why_text
from forecourt.policies.quantities import LONGEST, microseconds
from forecourt.policies.wording import nearest

KIND = "maintenance"


class MaintenanceSwitch:
    """What is in maintenance by operators' switches: `config.maintenance`.

    It works from the start of the app to its end. Its methods raise ForecourtError before the start, StoreDown or
    StoreOverloaded where the store does not answer.
    """

    def __init__(self) -> None:
        self.switches: tuple[Switch, ...] = ()
        """What this process knows; another tuple whenever it differs."""
        self._orders: Orders | None = None
        self.endpoints: frozenset[str] | None = None
        """The names of the endpoints that can be switched; None where nobody knows."""

    def __repr__(self) -> str:
        return f"<MaintenanceSwitch {', '.join(each.glob for each in self.switches) or 'nothing'} in maintenance>"

    def bind(self, orders: Orders) -> None:
        """Be of use."""
        self._orders = orders
        orders.hear(KIND, self._follow)

    async def on(self, glob: str = "*", *, lasts: float | timedelta | None = None, why: str = "") -> Switch:
        """Have the endpoints of this name or glob answer 503 from now on, for so many seconds or until `off`.

        `why` is told to callers. In place of an earlier switch of the same glob. ConfigError where no endpoint that can
        be switched has such a name, ValueError for a time or word that cannot be.
        """
        orders = self._bound()
        self._meant(glob)
        until = None if lasts is None else orders.clock.now() + _lasting(lasts)
        switch = Switch(glob, until, why_text(why))
        await orders.give({"kind": KIND, "about": glob, "until": until, "why": switch.why})
        return switch

    async def off(self, glob: str = "*") -> bool:
        """Take the switch of this very name or glob back; False where there was none."""
        return await self._bound().take_back(KIND, glob)

    async def list(self) -> tuple[Switch, ...]:
        """Return the switches that hold now, as the store has them."""
        orders = self._bound()
        await orders.read()
        return tuple(each for each in self.switches if each.holds(orders.clock.now()))

    def _follow(self, orders: Sequence[Order]) -> None:
        self.switches = tuple(Switch(str(order["about"]), ends(order), str(order.get("why", ""))) for order in orders)

    def _meant(self, glob: str) -> None:
        known = self.endpoints
        if known is None or any(Switch(glob).means(name) for name in known):
            return
        hint = nearest(glob, known) or f"; those that have are {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(f'maintenance: no endpoint called "{glob}" has a policy that says maintenance = {{}}{hint}')

    def _bound(self) -> Orders:
        if self._orders is None:
            raise ForecourtError(
                "config.maintenance is of use once the app has started: no stack of this config has yet"
            )
        return self._orders


def can_be_switched(endpoints: Mapping[str, EndpointPolicy], default: EndpointPolicy | None) -> bool:
    """Return whether a config has an endpoint, a glob or a default whose policy says `maintenance`."""
    return any(
        isinstance(policy.maintenance, Maintenance) for policy in (*endpoints.values(), default) if policy is not None
    )


def _lasting(lasts: float | timedelta) -> int:
    time = microseconds(lasts)
    if not 0 < time <= microseconds(LONGEST):
        raise ValueError(f"lasts={lasts!r}: must be greater than 0 and at most {LONGEST} seconds")
    return time
