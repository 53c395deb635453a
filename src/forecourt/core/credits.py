"""The ledger of credits: charge before the work, settle after it, and a journal of every change.

A charge is known by its id, and each step may be told twice:

    credits_charge   takes an amount and holds it; the same id again takes nothing more
    credits_hold     keeps holds for longer, while their work goes on
    credits_settle   says what the work cost: the rest comes back, what goes beyond the hold is taken; 0 is a refund
    credits_grant    adds prepaid credits (or takes them, below zero); the same id again adds nothing
    credits_history  reads the journal

Work that may be attempted again, by another process while the first may be late, is charged as `id/attempt`: its
attempts share one hold. What an attempt gives back (a failure that costs nothing, a charge whose answer nobody saw)
comes back when no other attempt shares it; what one of them paid, the others need not. So neither a loser nor a failure
can refund what somebody else's work is paid with.

A hold that nobody settles comes back when it expires: the next charge sweeps up to 64 of them. Its id is remembered
for a day, so that work which outlasted its hold still pays when it is settled at last. Settling what is not held does
nothing, which is why settling three times charges once; with `keep` the id of what was paid is remembered, so that
the same work asked for again under this id is not charged again. So are the ids of grants.

What was granted, given by the quota, held, spent and left always adds up (see `core.accounts`), and every change of a
balance is a line of the journal, the last `kept` of which stay. Its kinds are `grant`, `charge`, `settle`, `refund`,
`expire` (an expired hold came back) and `renew` (what the quota gives anew, in place of what was left of it).
"""

from typing import cast

from forecourt.core.accounts import Terms, wait
from forecourt.core.books import GRANTED, PAID, SUFFIXES, SWEPT, Book, Line, id_of, opened
from forecourt.core.operations import Arg, Operation, Outcome, State, register
from forecourt.core.periods import NONE
from forecourt.types import EXACT

MOST_PREPAID = EXACT // 2
"""A grant that would take the prepaid part this far, either way, is refused."""


def charge(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Hold an amount; args: amount, ttl in µs, id or id/attempt, the quota's every, amount, rollover; lines kept.

    Values: balance after, µs until the quota renews (-1: there is none; where refused, µs until renewals have made
    room, -1: they never do), what is held under this id, what is held in all. An amount of 0 only looks: it sweeps
    and renews, by the terms that the account has or else by those given. Sweeping takes effect even where the call is
    refused.
    """
    cost, ttl, attempt, every, amount, rollover, kept = cast("tuple[int, int, str, int, int, int, int]", args)
    own = id_of(attempt)
    book = opened(states, now)
    stored, swept = book.account, book.swept()
    book.renew(stored.terms if book.known and not cost else Terms(every, amount, rollover))
    marks = book.writes(kept) if swept else ()
    new = cost > 0 and own not in book.holds and not book.knows(PAID, own)
    if new and cost > book.account.balance:
        return Outcome("refuse", _values(book, own, wait(book.account, cost, now)), (), marks)
    joins = cost > 0 and own in book.holds and not book.shares(attempt)
    if new:
        book.hold(attempt, cost, ttl)
    elif joins:
        book.join(attempt, ttl)
    renews = book.account.renews - now if book.account.every != NONE else -1
    changed = new or joins or (book.known and book.account != stored)
    return Outcome("go", _values(book, own, renews), book.writes(kept) if changed else (), marks)


def _values(book: Book, own: str, renews: int) -> tuple[int, int, int, int]:
    held = book.holds[own].amount if own in book.holds else 0
    return book.account.balance, renews, held, book.account.held


def refunded(args: tuple[Arg, ...]) -> tuple[str, tuple[Arg, ...]]:
    """Undo a charge whose answer nobody saw; args as for `charge`."""
    return "credits_settle", (0, args[2], 0, args[6])


def keep_holds(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Keep holds for another ttl; args: ttl in µs, ids or attempts (between spaces). What is not held is no matter."""
    ttl, ids = cast("tuple[int, str]", args)
    book = opened(states, now)
    for own in map(id_of, ids.split()):
        if own in book.holds:
            hold = book.holds[own]
            book.holds[own] = hold._replace(until=max(hold.until, now + ttl))
    return Outcome("go", (), book.writes(1) if book.holds else ())


def settle(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Say what a charge came to; args: actual amount, id or id/attempt, µs to remember it for (0: not), lines kept."""
    actual, attempt, keep, kept = cast("tuple[int, str, int, int]", args)
    own, book = id_of(attempt), opened(states, now)
    before = book.account.balance
    if book.shares(attempt):
        if not actual and book.leave(attempt):
            return Outcome("go", (), book.writes(kept))
        book.spend(own, actual)
    elif book.known and own not in book.holds and book.knows(SWEPT, attempt) and not book.knows(PAID, own):
        book.spend_late(attempt, actual)
    else:
        return Outcome("go", ())
    if keep and actual:
        book.remember(PAID, own, keep)
    book.note("settle" if actual else "refund", own, before)
    return Outcome("go", (), book.writes(kept))


def grant(states: tuple[State | None, ...], now: int, args: tuple[Arg, ...]) -> Outcome:
    """Add prepaid credits; args: amount (below zero: take), id, µs to remember the id for, lines kept.

    Values: balance after, by the quota as it was last seen; 1, or 0 where this id was granted before. Refused where the
    sum could not be counted exactly.
    """
    amount, own, keep, kept = cast("tuple[int, str, int, int]", args)
    book = opened(states, now)
    before, prepaid = book.account.balance, book.account.prepaid + amount
    if book.knows(GRANTED, own):
        return Outcome("go", (before, 0))
    if not -MOST_PREPAID < prepaid < MOST_PREPAID:
        return Outcome("refuse", (before, 0))
    book.account = book.account._replace(prepaid=prepaid, funded=1)
    book.remember(GRANTED, own, keep)
    book.note("grant", own, before)
    return Outcome("go", (book.account.balance, 1), book.writes(kept))


def history(states: tuple[State | None, ...], _now: int, args: tuple[Arg, ...]) -> Outcome:
    """Read the journal, newest first; args: how many lines. Value: a line of text for each, see `lines_of`."""
    journal = cast("tuple[Line, ...]", states[1] or ())
    newest = journal[: -int(args[0]) - 1 : -1]
    return Outcome("go", ("\n".join(" ".join(map(str, line)) for line in newest).encode(),))


def lines_of(value: bytes) -> list[Line]:
    """Return the lines that `history` answered with."""
    fields = (line.split(" ", 4) for line in value.decode().split("\n") if line)
    return [Line(kind, int(amount), int(balance), int(time), own) for kind, amount, balance, time, own in fields]


CHARGE = register(Operation("credits_charge", "claim", 4, charge, SUFFIXES, refunded))
HOLD = register(Operation("credits_hold", "settle", 0, keep_holds, SUFFIXES))
SETTLE = register(Operation("credits_settle", "settle", 0, settle, SUFFIXES))
GRANT = register(Operation("credits_grant", "claim", 2, grant, SUFFIXES))
HISTORY = register(Operation("credits_history", "check", 1, history, ("", ":journal"), texts=True))
