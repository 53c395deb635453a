"""The ledger, step by step: charges, settlements, holds that expire, grants, the journal."""

import pytest

from forecourt.core.books import MOST_ATTEMPTS, MOST_KNOWN, MOST_SWEPT, Line
from forecourt.core.credits import CHARGE, MOST_PREPAID
from forecourt.core.operations import operation
from forecourt.core.periods import DAY
from forecourt.types import SECOND
from tests.core.accounting import LINES, MINUTE, PREPAID, balance, charge, grant, history, settle, told
from tests.core.twins import Kept


@pytest.fixture
def funded() -> Kept:
    """An account with 100 prepaid credits."""
    kept = Kept()
    grant(kept, "g", 100)
    return kept


def test_a_charge_is_held_until_it_is_settled(funded: Kept) -> None:
    """The amount is gone from the balance at once, and held; settled as it was, nothing changes but the hold."""
    assert charge(funded, "a", 30) == (1, 70, -1, 30, 30)
    settle(funded, "a", 30)
    assert charge(funded, "", 0) == (1, 70, -1, 0, 0)
    assert told(funded) == [("grant", 100, 100), ("charge", -30, 70)]


@pytest.mark.parametrize(
    ("actual", "left", "line"),
    [(10, 90, ("settle", 20, 90)), (0, 100, ("refund", 30, 100)), (45, 55, ("settle", -15, 55))],
)
def test_settling_gives_back_the_rest_or_takes_what_is_missing(
    funded: Kept, actual: int, left: int, line: tuple[str, int, int]
) -> None:
    """What counts in the end is the actual amount; the journal has the change."""
    charge(funded, "a", 30)
    settle(funded, "a", actual)
    assert balance(funded) == left
    assert told(funded)[-1] == line


def test_settling_three_times_charges_once(funded: Kept) -> None:
    """A settlement told again, even with another amount, does nothing; so does one of an id never charged."""
    charge(funded, "a", 30)
    for actual in (20, 20, 0):
        settle(funded, "a", actual)
    settle(funded, "unknown", 50)
    assert balance(funded) == 80
    assert len(history(funded)) == 3


def test_charging_twice_charges_once(funded: Kept) -> None:
    """The same id holds one amount, whatever is asked for the second time, even with nothing left."""
    charge(funded, "a", 100)
    assert charge(funded, "a", 30) == (1, 0, -1, 100, 100)
    assert len(history(funded)) == 2


def test_a_kept_id_is_not_charged_again(funded: Kept) -> None:
    """For as long as it is kept the same work goes for nothing, and then it is new; refunded work is new at once."""
    charge(funded, "a", 30)
    settle(funded, "a", 30, keep=DAY)
    funded.advance(DAY - 1)
    assert charge(funded, "a", 30) == (1, 70, -1, 0, 0)
    settle(funded, "a", 30)
    assert balance(funded) == 70
    funded.advance(1)
    assert charge(funded, "a", 30) == (1, 40, -1, 30, 30)
    settle(funded, "a", 0, keep=DAY)
    assert charge(funded, "a", 30) == (1, 40, -1, 30, 30)


def test_attempts_of_one_id_share_one_hold(funded: Kept) -> None:
    """The second takes nothing more; what one gives back stays with the other, who pays, or gives all back."""
    charge(funded, "a/1", 30)
    assert charge(funded, "a/2", 30) == (1, 70, -1, 30, 30)
    settle(funded, "a/1", 0)
    assert charge(funded, "", 0) == (1, 70, -1, 0, 30)
    settle(funded, "a/2", 20)
    settle(funded, "a/1", 20)
    assert charge(funded, "", 0) == (1, 80, -1, 0, 0)
    charge(funded, "b/1", 30)
    charge(funded, "b/2", 30)
    for attempt in ("b/1", "b/2"):
        settle(funded, attempt, 0)
    assert charge(funded, "", 0) == (1, 80, -1, 0, 0)


def test_an_attempt_that_was_never_charged_settles_nothing(funded: Kept) -> None:
    """Neither what another holds, nor what another's expired hold left to be paid."""
    charge(funded, "a/1", 30)
    for amount in (0, 10):
        settle(funded, "a/2", amount)
    assert charge(funded, "", 0) == (1, 70, -1, 0, 30)
    funded.advance(MINUTE)
    balance(funded)
    for amount in (0, 10):
        settle(funded, "a/2", amount)
    assert balance(funded) == 100
    settle(funded, "a/1", 30)
    assert balance(funded) == 70


def test_late_attempts_pay_once(funded: Kept) -> None:
    """Their hold expired: the first to settle pays, and who settles while another attempt holds does not."""
    for attempt in ("a/1", "a/2"):
        charge(funded, attempt, 30)
    funded.advance(MINUTE)
    balance(funded)
    for attempt in ("a/1", "a/2"):
        settle(funded, attempt, 30, keep=DAY)
    assert balance(funded) == 70
    charge(funded, "b/1", 30)
    funded.advance(MINUTE)
    charge(funded, "b/2", 30)
    for attempt in ("b/1", "b/2"):
        settle(funded, attempt, 30)
    assert balance(funded) == 40


def test_a_joined_hold_lasts_as_long_as_its_last_attempt(funded: Kept) -> None:
    """Whoever takes over begins anew; more than eight attempts are not remembered, the first go."""
    charge(funded, "a/0", 30)
    for number in range(1, MOST_ATTEMPTS + 1):
        funded.advance(MINUTE - 1)
        assert charge(funded, f"a/{number}", 30) == (1, 70, -1, 30, 30)
    settle(funded, "a/0", 0)
    assert charge(funded, "", 0)[4] == 30
    for number in range(1, MOST_ATTEMPTS + 1):
        assert balance(funded) == 70
        settle(funded, f"a/{number}", 0)
    assert balance(funded) == 100


def test_an_empty_account_refuses_and_writes_nothing() -> None:
    """Prepaid credits do not come by waiting: the wait is -1. What is not there is not stored."""
    kept = Kept()
    assert charge(kept, "a", 1) == (0, 0, -1, 0, 0)
    assert charge(kept, "", 0) == (1, 0, -1, 0, 0)
    settle(kept, "a", 1)
    kept("credits_hold", "k", MINUTE, "a")
    assert kept.entries == {}


def test_a_hold_that_nobody_settles_comes_back(funded: Kept) -> None:
    """A process that died costs nobody anything once its hold has expired, and not a microsecond earlier."""
    charge(funded, "dead", 100)
    funded.advance(MINUTE - 1)
    assert charge(funded, "a", 1)[0] == 0
    funded.advance(1)
    assert charge(funded, "a", 1) == (1, 99, -1, 1, 1)
    assert told(funded)[-2:] == [("expire", 100, 100), ("charge", -1, 99)]


def test_a_renewed_hold_stands(funded: Kept) -> None:
    """Renewals keep holds, of several ids at once, and shorten none; unknown ids are no matter."""
    charge(funded, "a", 60)
    charge(funded, "b", 40)
    funded.advance(MINUTE - 1)
    funded("credits_hold", "k", MINUTE, "a x b")
    funded("credits_hold", "k", 1, "a")
    funded.advance(MINUTE - 1)
    assert charge(funded, "c", 1)[0] == 0
    funded.advance(1)
    assert balance(funded) == 100


def test_work_that_outlasted_its_hold_still_pays_once(funded: Kept) -> None:
    """Settled within a day after the hold was swept, the actual amount is taken, below zero if need be."""
    charge(funded, "slow", 30)
    funded.advance(MINUTE)
    charge(funded, "a", 100)
    for _ in range(3):
        settle(funded, "slow", 25)
    assert balance(funded) == -25
    assert told(funded)[-1] == ("settle", -25, -25)


def test_work_that_comes_days_too_late_pays_nothing(funded: Kept) -> None:
    """An id whose hold was swept is remembered for a day."""
    for own, late in (("a", DAY - 1), ("b", DAY)):
        charge(funded, own, 30)
        funded.advance(MINUTE)
        balance(funded)
        funded.advance(late)
        settle(funded, own, 10)
    assert balance(funded) == 90


def test_an_expired_hold_can_be_settled_before_it_is_swept(funded: Kept) -> None:
    """Nothing came back yet, so the rest comes back now."""
    charge(funded, "a", 30)
    funded.advance(2 * MINUTE)
    settle(funded, "a", 10)
    assert balance(funded) == 90


def test_an_id_whose_hold_expired_may_be_charged_anew(funded: Kept) -> None:
    """It is one charge again: settled, it is over, and nothing late remains of it."""
    charge(funded, "a", 30)
    funded.advance(MINUTE)
    assert charge(funded, "a", 40) == (1, 60, -1, 40, 40)
    for _ in range(2):
        settle(funded, "a", 40)
    assert balance(funded) == 60


def test_a_refused_charge_still_sweeps(funded: Kept) -> None:
    """At most 64 expired holds come back at a time, the oldest first; each call goes on, refused or not."""
    for number in range(100):
        charge(funded, f"dead-{number:02}", 1)
    funded.advance(MINUTE)
    assert charge(funded, "a", 200)[:2] == (0, MOST_SWEPT)
    assert [line.id for line in history(funded, 1)] == ["dead-63"]
    assert charge(funded, "a", 200)[:2] == (0, 100)
    assert charge(funded, "a", 100)[0] == 1


def test_a_charge_that_its_group_refuses_leaves_no_mark(funded: Kept) -> None:
    """When another of the group refuses, only the sweeping takes effect."""
    outcome = operation("credits_charge").compute(
        funded.states(CHARGE, "k"), funded.now, (30, MINUTE, "a", *PREPAID, LINES)
    )
    assert outcome.verdict == "go"
    assert outcome.marks == ()
    charge(funded, "dead", 30)
    funded.advance(MINUTE)
    states = funded.states(CHARGE, "k")
    outcome = operation("credits_charge").compute(states, funded.now, (30, MINUTE, "a", *PREPAID, LINES))
    account, holds, *_ = outcome.marks
    assert account is not None
    assert holds is not None
    assert account.state is not None
    assert account.state[4:6] == (100, 0)
    assert holds.state is None


def test_grants_add_once(funded: Kept) -> None:
    """The same id again adds nothing; a grant below zero takes, into debt if need be; an id may be a charge's too."""
    assert grant(funded, "g", 100) == (1, 100, 0)
    assert grant(funded, "h", -130) == (1, -30, 1)
    assert charge(funded, "h", 1)[0] == 0
    assert grant(funded, "i", 31) == (1, 1, 1)
    assert charge(funded, "h", 1)[0] == 1
    assert charge(funded, "", 0)[0] == 1


def test_a_debt_can_be_looked_at() -> None:
    """Looking is never refused, not even below zero."""
    kept = Kept()
    grant(kept, "g", -5)
    assert charge(kept, "", 0) == (1, -5, -1, 0, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_grant_that_could_not_be_counted_exactly_is_refused(sign: int) -> None:
    """Sums stay below half of 2^53, either way."""
    kept = Kept()
    assert grant(kept, "a", sign * (MOST_PREPAID - 1)) == (1, sign * (MOST_PREPAID - 1), 1)
    assert grant(kept, "b", sign) == (0, sign * (MOST_PREPAID - 1), 0)


def test_the_journal_tells_every_change_and_keeps_the_last() -> None:
    """Newest first, with the time and the id; of more lines than are kept, the oldest go."""
    kept = Kept()
    assert history(kept) == []
    grant(kept, "g", 10)
    kept.advance(SECOND)
    charge(kept, "a", 4)
    assert history(kept) == [
        Line("charge", -4, 6, kept.now, "a"),
        Line("grant", 10, 10, kept.now - SECOND, "g"),
    ]
    assert history(kept, 1) == history(kept)[:1]
    kept("credits_charge", "k", 1, MINUTE, "b", *PREPAID, 2)
    assert [line.id for line in history(kept)] == ["b", "a"]


def test_the_last_thousand_ids_are_remembered() -> None:
    """Of more ids than that, the one that would be forgotten first makes room."""
    kept = Kept()
    for number in range(MOST_KNOWN + 1):
        kept("credits_grant", "k", 1, f"{number:04}", DAY, LINES)
    assert grant(kept, "0000", 1)[2] == 1
    assert grant(kept, "0002", 1)[2] == 0
