"""`forecourt limits`: look where a caller stands with the limits of an endpoint, let a caller begin anew.

forecourt limits peek main:app create_record --client 192.0.2.7
forecourt limits reset policies.toml create_record --principal https://issuer alice --name hourly
"""

import argparse
from collections.abc import Awaitable, Callable

from forecourt.cli_store import in_its_store
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
    """Add the command and its two acts."""
    words = "look where a caller stands with its limits, let it begin anew"
    acts = commands.add_parser("limits", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("peek", _peek, "what is left of each limit, and when there is more; takes nothing"),
        ("reset", _reset, "forget what was counted for a caller"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("target", metavar="module:app|FILE", help="the app, or its policy file")
        parser.add_argument("endpoint", metavar="ENDPOINT", help="as `forecourt show` calls it")
        _add_identities(parser)
        parser.set_defaults(run=_run, act=act)
        if name == "peek":
            parser.add_argument("--tier", help="whose numbers hold; else those of no tier")
        else:
            parser.add_argument("--name", help="only the limit of this name, as peek calls it")


def _add_identities(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
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


def _identity(given: argparse.Namespace) -> tuple[str, ...]:
    for kind in _WHO:
        if values := getattr(given, kind):
            return (kind, *values)
    return ("endpoint",)


def _spelt(standing: Standing) -> str:
    more = f", one more in {standing.more_in:.3f} s" if standing.more_in else ""
    passes = "passes" if standing.passes else "would be refused"
    return f"{standing.name}: {standing.remaining} of {standing.limit} left{more}; a call now {passes}"
