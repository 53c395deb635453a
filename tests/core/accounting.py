"""Steps of the ledger on a kept account `k`, in few words."""

from forecourt.core.books import Line
from forecourt.core.credits import lines_of
from forecourt.core.periods import DAY
from forecourt.types import SECOND
from tests.core.twins import Kept

MINUTE = 60 * SECOND
PREPAID = (0, 0, 0)
LINES = 1000


def charge(
    kept: Kept, own: str, amount: int, terms: tuple[int, int, int] = PREPAID, ttl: int = MINUTE
) -> tuple[int, int, int, int, int]:
    """Ask to charge; return the verdict (1: charged), balance, wait or renewal, held by this id, held in all."""
    verdict, balance, renews, mine, held = kept("credits_charge", "k", amount, ttl, own, *terms, LINES)
    return int(verdict), int(balance), int(renews), int(mine), int(held)


def settle(kept: Kept, own: str, amount: int, keep: int = 0) -> None:
    """Say what a charge came to."""
    kept("credits_settle", "k", amount, own, keep, LINES)


def grant(kept: Kept, own: str, amount: int) -> tuple[int, int, int]:
    """Add prepaid credits; return the verdict, the balance, and whether it was new."""
    verdict, balance, new = kept("credits_grant", "k", amount, own, 90 * DAY, LINES)
    return int(verdict), int(balance), int(new)


def balance(kept: Kept) -> int:
    """Look at the balance."""
    return charge(kept, "", 0)[1]


def history(kept: Kept, count: int = LINES) -> list[Line]:
    """Read the journal, newest first."""
    _, value = kept("credits_history", "k", count)
    assert isinstance(value, bytes)
    return lines_of(value)


def told(kept: Kept) -> list[tuple[str, int, int]]:
    """Return kind, amount and balance of each line, oldest first."""
    return [(line.kind, line.amount, line.balance) for line in reversed(history(kept))]
