"""`forecourt maintenance`: take endpoints out of service for a while, in all processes within a second.

forecourt maintenance on main:app "reports.*" --for 30m --why "the archive is moved"
forecourt maintenance list policies.toml
forecourt maintenance off policies.toml "reports.*"
"""

import argparse
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from forecourt.cli_store import in_its_store
from forecourt.config import EndpointLike, JobConfig
from forecourt.config_maintenance import MaintenanceSwitch, can_be_switched
from forecourt.core.maintenance import Switch
from forecourt.errors import ConfigError
from forecourt.orders import Orders
from forecourt.principals import Keys
from forecourt.stores.contract import Store
from forecourt.types import SECOND, SystemClock

Act = Callable[[MaintenanceSwitch, argparse.Namespace], Awaitable[str]]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LASTING = re.compile(r"(\d+)([smhd])")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its three acts."""
    words = "take endpoints out of service for a while, in all processes"
    command = commands.add_parser("maintenance", help=words, description=words)
    acts = command.add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("on", _on, "have endpoints answer 503, with when to come back"),
        ("off", _off, "take a switch back"),
        ("list", _list, "the switches that hold, and what the config itself says"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("target", metavar="module:app|FILE", help="the app, or its policy file")
        parser.set_defaults(run=_run, act=act)
        if name != "list":
            parser.add_argument("glob", nargs="?", default="*", metavar="GLOB", help="an endpoint, or a glob; else all")
        if name == "on":
            parser.add_argument("--for", dest="lasts", type=lasting, metavar="TIME", help="such as 90s, 30m, 2h, 1d")
            parser.add_argument("--why", default="", help="what callers are told")


def lasting(text: str) -> int:
    """Return the seconds that a time such as 30m says; the error is argparse's."""
    found = _LASTING.fullmatch(text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: say 90s, 30m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def until_words(until: int | None) -> str:
    """Say when something ends that ends at so many µs since the epoch, or when it is taken back."""
    if until is None:
        return "until it is taken back"
    return f"until {datetime.fromtimestamp(until / SECOND, UTC).isoformat(timespec='seconds')}"


def _run(given: argparse.Namespace) -> int:
    def done(config: JobConfig, endpoints: list[EndpointLike] | None, store: Store) -> Awaitable[str]:
        if not can_be_switched(config.endpoints, config.default):
            raise ConfigError("maintenance: no endpoint can be switched; say [default.maintenance] in the policy file")
        switch = config.maintenance
        switch.bind(Orders(store, Keys(config.namespace), SystemClock()))
        if endpoints is not None:
            policies = [(each.name, config.policy_for(each.name, each.protocol)) for each in endpoints]
            switch.endpoints = frozenset(name for name, policy in policies if policy and policy.said("maintenance"))
        act: Act = given.act
        return act(switch, given)

    print(in_its_store(given.target, "switches", done))
    return 0


async def _on(switch: MaintenanceSwitch, given: argparse.Namespace) -> str:
    return f"on: {_spelt(await switch.on(given.glob, lasts=given.lasts, why=given.why))}"


async def _off(switch: MaintenanceSwitch, given: argparse.Namespace) -> str:
    return f"off: {given.glob}" if await switch.off(given.glob) else f"{given.glob} was not on"


async def _list(switch: MaintenanceSwitch, _given: argparse.Namespace) -> str:
    return "\n".join(map(_spelt, await switch.list())) or "nothing is switched to maintenance."


def _spelt(switch: Switch) -> str:
    why = f": {switch.why}" if switch.why else ""
    return f"{switch.glob} {until_words(switch.until)}{why}"
