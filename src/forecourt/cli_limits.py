"""`forecourt limits`: where a caller stands with limits; let it begin anew, or have other numbers for a while.

forecourt limits peek main:app create_record --client 192.0.2.7
forecourt limits reset policies.toml create_record --principal https://issuer alice --name hourly
forecourt limits override main:app create_record --set limit=50 --for 1h
forecourt limits overrides main:app
forecourt limits restore main:app create_record
"""

import argparse
from collections.abc import Awaitable, Callable

from forecourt.cli_maintenance import lasting, until_words
from forecourt.cli_store import in_its_store
from forecourt.config_overrides import Override
from forecourt.limits import Limits, Standing

Act = Callable[[Limits, argparse.Namespace], Awaitable[str]]

_WHO = {
    "client": (("ADDRESS",), "an address; of IPv6 its network counts"),
    "principal": (("ISSUER", "SUBJECT"), "an authenticated caller"),
    "tenant": (("TENANT",), "all callers of a tenant"),
    "header": (("NAME", "VALUE"), "whoever sends this header"),
    "function": (("NAME", "VALUE"), "what a function of key_functions returned"),
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its acts."""
    words = "look where a caller stands with its limits, let it begin anew"
    acts = commands.add_parser("limits", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("peek", _peek, "what is left of each limit, and when there is more; takes nothing"),
        ("reset", _reset, "forget what was counted for a caller"),
        ("override", _override, "have other numbers hold for a while, for a caller or for all"),
        ("restore", _restore, "take an override back before it ends"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("target", metavar="module:app|FILE", help="the app, or its policy file")
        parser.add_argument("endpoint", metavar="ENDPOINT", help="as `forecourt show` calls it")
        _add_identities(parser, required=name in ("peek", "reset"))
        parser.set_defaults(run=_run, act=act)
        if name == "peek":
            parser.add_argument("--tier", help="whose numbers hold; else those of no tier")
            continue
        if name == "override":
            parser.add_argument("--set", dest="numbers", type=_number, action="append", metavar="NUMBER=VALUE")
            parser.add_argument("--for", dest="lasts", type=lasting, required=True, metavar="TIME", help="30m, 2h, 1d")
        parser.add_argument("--name", help="only the limit of this name, as peek calls it")

    parser = acts.add_parser("overrides", help="the overrides that hold", description="the overrides that hold")
    parser.add_argument("target", metavar="module:app|FILE", help="the app, or its policy file")
    parser.set_defaults(run=_run, act=_overrides)


def _number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number: say limit=50") from None


def _add_identities(parser: argparse.ArgumentParser, *, required: bool) -> None:
    who = parser.add_mutually_exclusive_group(required=required)
    for kind, (values, help_) in _WHO.items():
        who.add_argument(f"--{kind}", nargs=len(values), metavar=values, help=help_)
    who.add_argument("--all-callers", action="store_true", help='what limits with key = "endpoint" count')


def _run(given: argparse.Namespace) -> int:
    act: Act = given.act
    print(in_its_store(given.target, "limits", lambda config, known, store: act(Limits(config, store, known), given)))
    return 0


async def _peek(limits: Limits, given: argparse.Namespace) -> str:
    standings = await limits.peek(given.endpoint, _identity(given), given.tier)
    return "\n".join(_spelt(standing) for standing in standings)


async def _reset(limits: Limits, given: argparse.Namespace) -> str:
    names = await limits.reset(given.endpoint, _identity(given), given.name)
    return f"reset: {', '.join(names)}"


async def _override(limits: Limits, given: argparse.Namespace) -> str:
    numbers = dict(given.numbers or ())
    who = _identity(given)
    told = await limits.override(given.endpoint, numbers, lasts=given.lasts, identity=who, name=given.name)
    return "\n".join(map(_changed, told))


async def _restore(limits: Limits, given: argparse.Namespace) -> str:
    there = await limits.restore(given.endpoint, identity=_identity(given), name=given.name)
    return "restored" if there else "nothing was changed there"


async def _overrides(limits: Limits, _given: argparse.Namespace) -> str:
    return "\n".join(map(_changed, await limits.overrides())) or "no limit is changed."


def _changed(override: Override) -> str:
    numbers = ", ".join(f"{name}={value}" for name, value in override.numbers)
    who = f"caller {override.who}" if override.who else "all callers"
    return f"{override.name} of {override.glob}, {who}: {numbers} {until_words(override.until)}"


def _identity(given: argparse.Namespace) -> tuple[str, ...]:
    for kind in _WHO:
        if values := getattr(given, kind):
            return (kind, *values)
    return ("endpoint",)


def _spelt(standing: Standing) -> str:
    more = f", one more in {standing.more_in:.3f} s" if standing.more_in else ""
    passes = "passes" if standing.passes else "would be refused"
    return f"{standing.name}: {standing.remaining} of {standing.limit} left{more}; a call now {passes}"
