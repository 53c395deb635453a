"""`forecourt credits`: grant credits, read a balance, read an account's journal.

An account is named as limits count it: `client 192.0.2.7`, `principal https://issuer alice`.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from forecourt.config import JobConfig
from forecourt.errors import ConfigError
from forecourt.ledger import Balance, Ledger
from forecourt.stores.opening import store_at
from forecourt.types import SECOND, SystemClock

Act = Callable[[Ledger, argparse.Namespace], Awaitable[str]]


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its three acts."""
    words = "grant credits, read a balance, read an account's journal"
    acts = commands.add_parser("credits", help=words, description=words).add_subparsers(required=True, metavar="ACT")
    for name, act, help_ in (
        ("grant", _grant, "add prepaid credits (below 0: take them away)"),
        ("balance", _balance, "what an account has, and what calls at work have reserved"),
        ("history", _history, "the last changes of an account, newest first"),
    ):
        parser = acts.add_parser(name, help=help_, description=help_)
        parser.add_argument("account", nargs="+", metavar="WORD", help="such as: client 192.0.2.7")
        parser.add_argument("--config", type=Path, help="the policy file; else what FORECOURT_CONFIG names")
        parser.set_defaults(run=_run, act=act)
        if name == "grant":
            parser.add_argument("--amount", type=int, required=True)
            parser.add_argument("--id", help="grants once, however often it is said: an invoice's number, say")
        if name == "history":
            parser.add_argument("--count", type=int, default=20)


def _run(given: argparse.Namespace) -> int:
    config = JobConfig.from_file(given.config) if given.config else JobConfig()
    if config.store.startswith("memory:"):
        raise ConfigError("store: accounts in memory:// are their process's own; name the service's store")
    print(asyncio.run(_done(config, given)))  # a command prints
    return 0


async def _done(config: JobConfig, given: argparse.Namespace) -> str:
    store = store_at(config.store, SystemClock())
    await store.open()
    act: Act = given.act
    try:
        return await act(Ledger(store, config.namespace, config.accounts), given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    finally:
        await store.close()


async def _grant(ledger: Ledger, given: argparse.Namespace) -> str:
    return _spelt(await ledger.grant(given.account, given.amount, id=given.id))


async def _balance(ledger: Ledger, given: argparse.Namespace) -> str:
    return _spelt(await ledger.balance(given.account))


async def _history(ledger: Ledger, given: argparse.Namespace) -> str:
    lines = await ledger.history(given.account, given.count)
    return "\n".join(
        f"{datetime.fromtimestamp(line.time / SECOND, UTC):%Y-%m-%d %H:%M:%S}  {line.kind:<8} {line.amount:>+12}"
        f"  {line.balance:>12}  {line.id}"
        for line in lines
    )


def _spelt(balance: Balance) -> str:
    renews = "" if balance.renews_in is None else f", quota renews in {balance.renews_in:.0f} s"
    return f"{balance.available} available, {balance.held} reserved{renews}"
