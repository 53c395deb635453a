"""An account's book, opened for one operation: the account, its holds, the ids it remembers, and its journal.

An operation changes the book and then says what to write; the states it was opened from are never changed in place. Ids
are remembered for as long as each one asks, and the last 1,024 of them at most; the one that would be forgotten first
makes room.

Work that may be attempted more than once is charged as `id/attempt`. Its attempts share one hold, which knows who they
are: it comes back when the last of them gives it back, and is spent by the first that says what it cost.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

from forecourt.core.accounts import Account, Terms, debited, debt_paid, ends, renewed, returned
from forecourt.core.operations import State, Write
from forecourt.core.periods import DAY
from forecourt.types import EXACT

SUFFIXES = ("", ":holds", ":due", ":ids", ":journal")
"""The keys of an account: itself, its holds (in Redis with their instants apart, in `:due`), known ids, the journal."""

PAID, SWEPT, GRANTED = "=", "~", "+"
"""How a remembered id begins: settled with `keep`, expired before it was settled, or a grant's."""

MOST_SWEPT = 64
MOST_KNOWN = 1024
MOST_ATTEMPTS = 8
"""So many attempts share a hold; those before were charged long ago and are taken for dead."""

_NEVER = EXACT - 1


class Hold(NamedTuple):
    """An amount taken and not settled: its parts, when the period began that it was taken in, when it expires.

    `by`: the attempts that share it, the first one first.
    """

    quota: int
    prepaid: int
    since: int
    until: int
    by: tuple[str, ...]

    @property
    def amount(self) -> int:
        """Both parts."""
        return self.quota + self.prepaid


class Line(NamedTuple):
    """One change of a balance: what happened, by how much, the balance after, when (µs), and the id it belongs to."""

    kind: str
    amount: int
    balance: int
    time: int
    id: str


@dataclass(slots=True)
class Book:
    """The book at one instant; `known` is False where there is no account yet."""

    now: int
    known: bool
    account: Account
    holds: dict[str, Hold]
    ids: dict[str, int]
    earlier: tuple[Line, ...]
    lines: list[Line]
    ids_changed: bool = False

    def swept(self) -> bool:
        """Give expired holds back, the oldest first; False when there was none."""
        expired = sorted((hold.until, own) for own, hold in self.holds.items() if hold.until <= self.now)
        for _, own in expired[:MOST_SWEPT]:
            before, hold = self.account.balance, self._off(own)
            self.account = returned(self.account, hold.quota, hold.prepaid, hold.since)
            self.note("expire", own, before)
            for attempt in hold.by:
                self.remember(SWEPT, attempt, DAY)
        return bool(expired)

    def renew(self, terms: Terms) -> None:
        """Bring the quota to this instant and these terms, and pay a debt from it."""
        began = self.account.since
        self.account = renewed(self.account, terms, self.now)
        if self.account.since != began:
            given = self.account.amount + self.account.carried
            self.lines.append(Line("renew", given, self.account.balance, self.now, ""))
        self.account = debt_paid(self.account)

    def hold(self, attempt: str, cost: int, ttl: int) -> None:
        """Take an amount that the balance covers."""
        account, before = self.account, self.account.balance
        quota = min(cost, account.left)
        self.account = account._replace(
            used=account.used + quota, prepaid=account.prepaid - (cost - quota), held=account.held + cost
        )
        own = id_of(attempt)
        self.holds[own] = Hold(quota, cost - quota, account.since, self.now + ttl, (attempt,))
        self.forget(SWEPT, attempt)
        self.note("charge", own, before)

    def shares(self, attempt: str) -> bool:
        """Tell whether this attempt is one of those that share the hold of its id."""
        own = id_of(attempt)
        return own in self.holds and attempt in self.holds[own].by

    def join(self, attempt: str, ttl: int) -> None:
        """Share the hold that another attempt has."""
        own = id_of(attempt)
        hold = self.holds[own]
        by = (*hold.by, attempt)[-MOST_ATTEMPTS:]
        self.holds[own] = hold._replace(by=by, until=max(hold.until, self.now + ttl))
        self.forget(SWEPT, attempt)

    def leave(self, attempt: str) -> bool:
        """Leave the hold to the other attempts that share it; False when there is none."""
        own = id_of(attempt)
        hold = self.holds[own]
        others = tuple(each for each in hold.by if each != attempt)
        if others:
            self.holds[own] = hold._replace(by=others)
        return bool(others)

    def spend(self, own: str, actual: int) -> None:
        """End a hold: what was not spent of it comes back, what was spent beyond it is taken."""
        hold = self._off(own)
        quota = min(actual, hold.quota)
        prepaid = min(actual - quota, hold.prepaid)
        self.account = returned(self.account, hold.quota - quota, hold.prepaid - prepaid, hold.since)
        self.account = debited(self.account, actual - quota - prepaid)

    def spend_late(self, own: str, actual: int) -> None:
        """Take all of what was spent under a hold that had expired before."""
        self.account = debited(self.account, actual)
        self.forget(SWEPT, own)

    def note(self, kind: str, own: str, before: int) -> None:
        """Write a line of the journal, unless the balance is the one before."""
        balance = self.account.balance
        if balance != before:
            self.lines.append(Line(kind, balance - before, balance, self.now, own))

    def knows(self, mark: str, own: str) -> bool:
        """Tell whether this id is remembered with this mark."""
        return self.ids.get(mark + own, 0) > self.now

    def remember(self, mark: str, own: str, keep: int) -> None:
        """Remember an id for `keep` µs."""
        ids = {each: until for each, until in self.ids.items() if until > self.now} | {mark + own: self.now + keep}
        if len(ids) > MOST_KNOWN:
            del ids[min(ids, key=lambda each: (ids[each], each))]
        self.ids, self.ids_changed = ids, True

    def forget(self, mark: str, own: str) -> None:
        """Forget an id with this mark; for good, so that a clock set back does not bring it back."""
        if mark + own in self.ids:
            self.ids = {each: until for each, until in self.ids.items() if each != mark + own}
        self.ids_changed = True

    def writes(self, kept: int) -> tuple[Write | None, ...]:
        """Return what to write of all this, by `SUFFIXES`; the journal keeps the last so many lines."""
        last = max((hold.until for hold in self.holds.values()), default=0)
        end = ends(self.account, last) or _NEVER
        holds = Write((dict(self.holds),), end) if self.holds else Write(None, self.now)
        return Write(self.account, end), holds, None, self._ids(), self._journal(kept)

    def _ids(self) -> Write | None:
        if not self.ids_changed:
            return None
        return Write((self.ids,), max(self.ids.values())) if self.ids else Write(None, self.now)

    def _journal(self, kept: int) -> Write | None:
        if not self.lines:
            return None
        days = 400 if self.account.funded else 35
        return Write((*self.earlier, *self.lines)[-kept:], self.now + days * DAY)

    def _off(self, own: str) -> Hold:
        """Take a hold off the book; its parts are the caller's to give back or to spend."""
        hold = self.holds.pop(own)
        self.account = self.account._replace(held=self.account.held - hold.amount)
        return hold


def id_of(attempt: str) -> str:
    """Return the id that this is an attempt of: what stands before the slash, or all of it."""
    return attempt.partition("/")[0]


def opened(states: tuple[State | None, ...], now: int) -> Book:
    """Open the book that these states, by `SUFFIXES`, hold."""
    account, holds, _, ids, journal = states
    return Book(
        now=now,
        known=account is not None,
        account=cast("Account", account or Account()),
        holds=dict(cast("tuple[dict[str, Hold]]", holds or ({},))[0]),
        ids=cast("tuple[dict[str, int]]", ids or ({},))[0],
        earlier=cast("tuple[Line, ...]", journal or ()),
        lines=[],
    )
