"""What an operator may do in the console: one function for each action, by its name in ACTIONS.

An action reads what it is given, does one thing, and says in a sentence what it did. What it cannot do it raises as
`Unfit`, in words that name the fix. What only one process could do says so by `of`: where the call has reached another
process than the one whose page the operator sees, nothing is done there.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from forecourt.breakers import Breaker
from forecourt.console.state import State
from forecourt.core.jobs import Status
from forecourt.errors import ConfigError
from forecourt.jobs.queue import Queue
from forecourt.ledger import Balance, Ledger
from forecourt.runtime import Runtime
from forecourt.stores.contract import Settlement

Given = Mapping[str, object]

_DIGEST = re.compile(r"[A-Za-z0-9_-]{16}")
_LONGEST = 500
_MOST_SECONDS = 86_400
_VALUES: dict[str, tuple[str, ...]] = {
    "principal": ("issuer", "subject"),
    "client": ("address",),
    "tenant": ("tenant",),
}
"""Whose account it may be, and the words that say it."""


class Unfit(Exception):
    """An action that cannot be done; the sentence is for the operator."""

    def __init__(self, detail: str, status: int = 422) -> None:
        self.detail = detail
        self.status = status
        super().__init__(detail)


class Site(NamedTuple):
    """Where actions work."""

    runtime: Runtime
    state: State


class Action(NamedTuple):
    """One action: what it does, which of the given words say to what, and whether this process alone can do it."""

    run: Callable[[Site, Given], Awaitable[str]]
    target: tuple[str, ...]
    own: Callable[[Site, Given], bool]


def target_of(action: Action, given: Given) -> dict[str, object]:
    """Return what an action is done to, as the audit trail has it."""
    return {name: str(given[name])[:_LONGEST] for name in action.target if given.get(name) not in (None, "")}


async def _open(site: Site, given: Given) -> str:
    breaker = _breaker(site, given)
    seconds = given.get("seconds")
    if seconds in (None, ""):
        breaker.open()
        return f"{breaker.name} is open, for as long as after a first failure"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _MOST_SECONDS:
        raise Unfit(f"seconds must be a number above 0 and at most {_MOST_SECONDS}")
    breaker.open(float(seconds))
    return f"{breaker.name} is open for {seconds:g} s"


async def _close(site: Site, given: Given) -> str:
    breaker = _breaker(site, given)
    breaker.close()
    return f"{breaker.name} is closed"


async def _reset(site: Site, given: Given) -> str:
    endpoint, limit, caller = _text(given, "endpoint"), _text(given, "limit"), _text(given, "caller")
    known = site.state.watching.limits.get((endpoint, limit))
    if known is None:
        raise Unfit(f'endpoint "{endpoint}" has no limit "{limit}" any more; reload the page')
    if not _DIGEST.fullmatch(caller):
        raise Unfit("caller must be a digest as the table shows it, 16 characters")
    key = site.runtime.keys.of_digest(known.state, known.bucket, caller)
    await site.runtime.store.settle([Settlement("forget", key, (), durable=True)])
    return f"{caller} begins anew with {limit} of {endpoint}, everywhere within a second"


async def _grant(site: Site, given: Given) -> str:
    account, amount = _account(given), given.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise Unfit("amount must be a whole number of credits; below 0 takes them away")
    own = given.get("id")
    try:
        balance = await _ledger(site).grant(account, amount, id=str(own) if own else None)
    except ValueError as error:
        raise Unfit(str(error)) from None
    return f"granted {amount} credits; {_spelt(balance)}"


async def _look(site: Site, given: Given) -> str:
    return _spelt(await _ledger(site).balance(_account(given)))


async def _cancel(site: Site, given: Given) -> str:
    record = await _queue(site, given).cancel(_text(given, "job"))
    if record is None:
        raise Unfit("nothing is known of this job any more", 404)
    if record.status != "cancelled":
        raise Unfit(f"this job has {_ENDED.get(record.status, record.status)}; there is nothing to cancel", 409)
    return f"{record.id} is cancelled"


async def _retry(site: Site, given: Given) -> str:
    job = _text(given, "job")
    record = await _queue(site, given).redrive(job)
    if record is None:
        raise Unfit("only a dead job can be tried again, and this one is not dead", 409)
    return f"{record.id} has all its attempts again"


_ENDED: dict[Status, str] = {"dead": "died", "succeeded": "succeeded", "failed": "failed"}


def _breaker(site: Site, given: Given) -> Breaker:
    try:
        return site.runtime.config.breaker(_text(given, "breaker"))
    except ConfigError as error:
        raise Unfit(str(error), 404) from None


def _queue(site: Site, given: Given) -> Queue:
    name = _text(given, "queue")
    queue = site.state.queues.queues().get(name)
    if queue is None:
        raise Unfit(f'this process has no queue "{name}"', 404)
    return queue


def _ledger(site: Site) -> Ledger:
    config = site.runtime.config
    return Ledger(site.runtime.store, config.namespace, config.accounts)


def _account(given: Given) -> tuple[str, ...]:
    kind = _text(given, "kind")
    if kind not in _VALUES:
        raise Unfit(f"kind must be {', '.join(_VALUES)}")
    return (kind, *(_text(given, name) for name in _VALUES[kind]))


def _spelt(balance: Balance) -> str:
    renews = "" if balance.renews_in is None else f", the quota renews in {balance.renews_in / 3600:.1f} h"
    return f"the account has {balance.available} credits and {balance.held} held{renews}"


def _text(given: Given, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
        raise Unfit(f"{name} must be given, as text of at most {_LONGEST} characters")
    return value.strip()


def _own_breaker(site: Site, given: Given) -> bool:
    return not site.state.is_fleets(_breaker(site, given))


def _own_store(site: Site, _given: Given) -> bool:
    return site.state.in_memory


def _own_queue(site: Site, given: Given) -> bool:
    return site.state.queues.in_process(_text(given, "queue"))


_WHOSE = ("kind", "issuer", "subject", "address", "tenant")


ACTIONS: Mapping[str, Action] = {
    "breaker.open": Action(_open, ("breaker", "seconds"), _own_breaker),
    "breaker.close": Action(_close, ("breaker",), _own_breaker),
    "limit.reset": Action(_reset, ("endpoint", "limit", "caller"), _own_store),
    "credits.look": Action(_look, _WHOSE, _own_store),
    "credits.grant": Action(_grant, (*_WHOSE, "amount", "id"), _own_store),
    "job.cancel": Action(_cancel, ("queue", "job"), _own_queue),
    "job.retry": Action(_retry, ("queue", "job"), _own_queue),
}
"""Every action by its name, as the page and the audit trail call it; one more is one line."""
