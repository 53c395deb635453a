"""The ledger as operators use it: grant credits, read a balance, read the journal of an account.

    ledger = Ledger(store, config.namespace, config.accounts)
    await ledger.grant(("principal", issuer, subject), 500, id="invoice-17")

An account belongs to an identity: a `Principal`, or what limits count by, such as ("principal", issuer, subject) or
("client", "192.0.2.7"). What a process that is gone had reserved comes back when it expires; reading a balance sees
to that.
"""

import asyncio
import logging
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from forecourt.config import JobConfig
from forecourt.core.books import Line
from forecourt.core.credits import lines_of
from forecourt.core.keeping import NO, UNKNOWN
from forecourt.core.periods import DAY
from forecourt.errors import ConfigError, StoreDown, StoreError
from forecourt.policies.credits import MOST_CREDITS, Accounts, Credits
from forecourt.policies.idempotency import Idempotency
from forecourt.principals import Keys, Principal
from forecourt.stores.contract import Answer, Question, Store
from forecourt.types import SECOND

logger = logging.getLogger("forecourt")

Account = Principal | Sequence[str]
"""Whose account: a principal, or (kind of identity, value …)."""

_REMEMBERED = 90 * DAY
_PROBES = 32
_ID = re.compile(r"[!-~]{1,128}")


class Balance(NamedTuple):
    """What an account has: credits to be spent, credits reserved by calls at work, seconds until its quota renews.

    `renews_in` is None without a quota. A balance below 0 is a debt.
    """

    available: int
    held: int
    renews_in: float | None


class Ledger:
    """The accounts in an open store; `namespace` and `accounts` are the config's.

    Every method raises StoreDown or StoreOverloaded when the store does not answer.
    """

    def __init__(self, store: Store, namespace: str = "fc", accounts: Accounts | None = None) -> None:
        self._store = store
        self._keys = Keys(namespace)
        self._accounts = accounts or Accounts()

    async def grant(self, account: Account, amount: int, *, id: str | None = None) -> Balance:  # noqa: A002  # its word
        """Add prepaid credits (below 0: take them away) and return the balance after.

        The same `id` (1 to 128 visible ASCII characters) grants once within 90 days. ValueError for an id or an amount
        that cannot be, or a balance that could not be counted exactly.
        """
        own = os.urandom(12).hex() if id is None else id
        if not _ID.fullmatch(own):
            raise ValueError(f"id {own!r} must be 1 to 128 visible ASCII characters")
        if amount == 0 or abs(amount) > MOST_CREDITS:
            raise ValueError(f"amount {amount} must be other than 0 and at most {MOST_CREDITS}")
        args = (amount, own, _REMEMBERED, self._accounts.journal)
        answer = await self._ask(Question("credits_grant", self._key(account), args, "closed"))
        if answer.verdict != "go":
            raise ValueError(f"amount {amount} would make a balance too large to be counted exactly")
        return await self.balance(account)

    async def balance(self, account: Account, tier: str | None = None) -> Balance:
        """Return what an account has; `tier` (or a principal's own) says which quota a new account would have."""
        if isinstance(account, Principal) and tier is None:
            tier = account.tier
        args = (0, 1, "", *self._accounts.terms(tier), self._accounts.journal)
        answer = await self._ask(Question("credits_charge", self._key(account), args, "closed"))
        available, renews, _, held = (int(value) for value in answer.values)
        return Balance(available, held, renews / SECOND if renews >= 0 else None)

    async def history(self, account: Account, count: int = 20) -> list[Line]:
        """Return the last changes of an account's balance, newest first; times are µs since the epoch."""
        if count < 1:
            raise ValueError(f"count {count} must be at least 1")
        answer = await self._ask(Question("credits_history", self._key(account), (count,), "closed"))
        (value,) = answer.values
        assert isinstance(value, bytes)
        return lines_of(value)

    async def _ask(self, question: Question) -> Answer:
        (answer,) = await self._store.decide([question])
        if answer.degraded:
            raise StoreDown("the ledger needs the store, which does not answer")
        return answer

    def _key(self, account: Account) -> str:
        if isinstance(account, Principal):
            account = ("principal", account.issuer, account.subject)
        return account_key(self._keys, account)


def account_key(keys: Keys, identity: Sequence[str]) -> str:
    """Return the store key of an identity's account."""
    return keys.key("credits", "account", *identity)


async def open_store(config: JobConfig, store: Store) -> None:
    """Open a store for a config; ConfigError, and the store closed, when it must not be used for it."""
    await store.open()
    try:
        await check_store(config, store)
    except ConfigError:
        await store.close()
        raise


async def check_store(config: JobConfig, store: Store) -> None:
    """Raise ConfigError where a server may evict accounts or idempotency records; warn where a crash may lose some.

    A store that does not say is warned of, too. Does nothing where no endpoint charges, nor carries out once.
    """
    charged, keyed = _kept_for(config)
    if not charged and not keyed:
        return
    what = " and ".join(filter(None, ("charge credits" * charged, "carry calls out once" * keyed)))
    keeps_all, logs_all = await _kept_by(store, Keys(config.namespace))
    if keeps_all == NO:
        raise ConfigError(
            f"store: endpoints {what}, and this server may evict what it knows of that to make room:"
            " set its maxmemory-policy to noeviction, or name another store"
        )
    if keeps_all == UNKNOWN:
        logger.warning(
            "endpoints %s; the store did not say whether it evicts keys, and must not (maxmemory-policy noeviction)",
            what,
        )
    elif logs_all == NO and charged:
        logger.warning(
            "credits: the store keeps no append-only file, so a crash of its server may lose charges and grants"
        )


def _kept_for(config: JobConfig) -> tuple[bool, bool]:
    """Return whether any endpoint charges, and whether any carries calls out once."""
    policies = [policy for policy in (*config.endpoints.values(), config.default) if policy is not None]
    charged = any(isinstance(policy.credits, Credits) for policy in policies)
    return charged, any(isinstance(policy.idempotency, Idempotency) for policy in policies)


async def _kept_by(store: Store, keys: Keys) -> tuple[int, int]:
    """Return what the servers of this store do: the least of their answers.

    Many keys are asked about, at once, so that every primary of a cluster answers for some.
    """
    asked = [Question("keeping", keys.key("keeping", "store", str(number)), (), "open") for number in range(_PROBES)]
    told = await asyncio.gather(*(store.decide([question]) for question in asked), return_exceptions=True)
    return min(_kept(outcome, 0) for outcome in told), min(_kept(outcome, 1) for outcome in told)


def _kept(outcome: list[Answer] | BaseException, place: int) -> int:
    if isinstance(outcome, StoreError):
        return UNKNOWN
    if isinstance(outcome, BaseException):
        raise outcome
    return int(outcome[0].values[place]) if outcome[0].values else UNKNOWN
