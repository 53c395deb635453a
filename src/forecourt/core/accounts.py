"""An account of credits: what its quota gives in each period, what was granted on top, and what is held.

A balance has two parts. The *quota* gives `amount` anew in each period; what is left of it at the end rolls over up
to `rollover`, the rest lapses. *Prepaid* credits were granted, and stay until they are spent. A charge takes from the
quota first. What is charged is *held* until it is settled; what comes back goes where it came from.

The quota counts what was used, not what is left, and knows when its period began, not which kind of period it was. So a
caller who comes under two plans at once, or changes plan to and fro, has used what it has used under both, and gains at
most one renewal by it: a period begins only where that is later than the beginning of the one under way.

What a settlement takes beyond its hold may leave the prepaid part below zero. Such a debt is paid from the quota at the
next charge. What comes back after a renewal counts as rolled over: it adds to the quota up to `rollover`.

An account that was never granted anything is no account any more once its period has ended with nothing rolling over:
then it is the same as a new one. What rolls over, and debts, are forgotten after 400 silent days.
"""

from typing import NamedTuple

from forecourt.core.periods import DAY, NONE, index, start

FORGOTTEN = 400 * DAY
"""How long an account that was never granted anything keeps what it carries, in µs after its period."""

_MOST_SKIPPED = 1000  # periods of silence that are counted: no quota rolls over more than a thousand times itself
_MOST_AHEAD = 1500  # periods that a wait may last, so that it stays exact: 125 years of months


class Terms(NamedTuple):
    """What a quota gives: `amount` credits in each period, of which up to `rollover` roll over; NONE: no quota."""

    every: int
    amount: int
    rollover: int


class Account(NamedTuple):
    """One account, as it is stored; all integers, instants in µs.

    `since` and `renews`: when the quota's period began and when it ends. `used` and `carried`: of the quota in this
    period, and what rolled over into it. `held`: the sum of all holds. `funded`: 1 once anything was granted. `every`,
    `amount`, `rollover`: the terms of the last charge.
    """

    since: int = 0
    renews: int = 0
    used: int = 0
    carried: int = 0
    prepaid: int = 0
    held: int = 0
    funded: int = 0
    every: int = NONE
    amount: int = 0
    rollover: int = 0

    @property
    def left(self) -> int:
        """What the quota still gives in this period."""
        return max(0, self.amount + self.carried - self.used) if self.every != NONE else 0

    @property
    def balance(self) -> int:
        """What may be charged."""
        return self.left + self.prepaid

    @property
    def terms(self) -> Terms:
        """The terms of the last charge."""
        return Terms(self.every, self.amount, self.rollover)


def renewed(account: Account, terms: Terms, now: int) -> Account:
    """Return the account under these terms at this instant, with its quota renewed where that is due."""
    if terms.every == account.every != NONE and now < account.renews:
        return account._replace(amount=terms.amount, rollover=terms.rollover)
    if terms.every == NONE:
        return account._replace(every=NONE, amount=0, rollover=0)
    number = index(terms.every, max(now, account.since))
    begins = start(terms.every, number)
    under = account._replace(renews=start(terms.every, number + 1), **terms._asdict())
    if begins <= account.since:
        return under
    return under._replace(since=begins, used=0, carried=_rolled_over(account, now))


def _rolled_over(account: Account, now: int) -> int:
    """Return what is left of the periods that ended: of the last one used, and of the silent ones after it."""
    if account.every == NONE:
        return 0
    silent = index(account.every, now) - index(account.every, account.since) - 1
    return min(account.left + min(max(0, silent), _MOST_SKIPPED) * account.amount, account.rollover)


def debt_paid(account: Account) -> Account:
    """Return the account with its debt paid from the quota, as far as that goes; the balance stays the same."""
    paid = min(account.left, max(0, -account.prepaid))
    return account._replace(used=account.used + paid, prepaid=account.prepaid + paid)


def wait(account: Account, cost: int, now: int) -> int:
    """Return the µs until renewals have made room for a cost above the balance; -1: they never do.

    `account` is renewed and has no debt that its quota can pay.
    """
    if account.every == NONE or cost > account.amount + account.rollover + max(0, account.prepaid):
        return -1
    renewals = -(-(cost - account.balance) // account.amount)
    if renewals > _MOST_AHEAD:
        return -1
    return start(account.every, index(account.every, max(now, account.since)) + renewals) - now


def returned(account: Account, quota: int, prepaid: int, since: int) -> Account:
    """Return the account with both parts given back that were taken in the period which began at `since`."""
    account = account._replace(prepaid=account.prepaid + prepaid)
    if since == account.since:
        return account._replace(used=account.used - quota)
    room = max(0, account.rollover - account.carried)
    return account._replace(carried=account.carried + min(quota, room))


def debited(account: Account, amount: int) -> Account:
    """Return the account with this amount taken, from the quota first, below zero where neither has it."""
    from_quota = min(amount, account.left)
    return account._replace(used=account.used + from_quota, prepaid=account.prepaid - (amount - from_quota))


def ends(account: Account, last_hold: int) -> int:
    """Return the instant at which the account equals a new one; 0: never. `last_hold`: when its last hold expires."""
    if account.funded:
        return 0
    kept = FORGOTTEN if account.rollover or account.prepaid else 0
    return max(account.renews + kept, last_hold + DAY if last_hold else 0)
