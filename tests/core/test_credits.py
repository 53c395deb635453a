"""The ledger, step by step: charges, settlements, holds that expire, grants, the journal."""

import pytest

from forecourt.core.books import MOST_KNOWN, MOST_SWEPT, Line
from forecourt.core.credits import CHARGE, MOST_PREPAID, lines_of
from forecourt.core.operations import operation
from forecourt.core.periods import DAILY, DAY, MONTHLY
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


class TestQuota:
    """Accounts that are given credits anew in each period."""

    DAILY_TEN = (DAILY, 10, 0)
    MIDNIGHT = 1_700_006_400_000_000

    @pytest.fixture
    def kept(self) -> Kept:
        """Midnight in UTC."""
        return Kept(self.MIDNIGHT)

    def test_a_quota_is_spent_and_renewed(self, kept: Kept) -> None:
        """A refusal names the instant of the renewal, which is right from both sides; what was left lapses."""
        kept.advance(3600 * SECOND)
        assert charge(kept, "a", 8, self.DAILY_TEN) == (1, 2, DAY - 3600 * SECOND, 8, 8)
        settle(kept, "a", 8)
        _, _, wait, *_ = charge(kept, "b", 3, self.DAILY_TEN)
        assert wait == DAY - 3600 * SECOND
        kept.advance(wait - 1)
        assert charge(kept, "b", 3, self.DAILY_TEN) == (0, 2, 1, 0, 0)
        kept.advance(1)
        assert charge(kept, "b", 3, self.DAILY_TEN) == (1, 7, DAY, 3, 3)

    def test_what_is_left_rolls_over_up_to_the_cap(self, kept: Kept) -> None:
        """Of 9 left 5 roll over; silent periods roll over too, those of a whole year at once."""
        charge(kept, "a", 1, (DAILY, 10, 5))
        settle(kept, "a", 1)
        kept.advance(DAY)
        assert charge(kept, "", 0, (DAILY, 10, 5))[1] == 15
        charge(kept, "b", 15, (DAILY, 10, 25))
        settle(kept, "b", 15)
        kept.advance(2 * DAY)
        assert charge(kept, "c", 1, (DAILY, 10, 25))[1] == 10 + 10 - 1
        settle(kept, "c", 1)
        kept.advance(365 * DAY)
        assert charge(kept, "d", 1, (DAILY, 10, 25))[1] == 35 - 1

    def test_the_wait_counts_the_renewals_that_are_needed(self, kept: Kept) -> None:
        """With a rollover a costly call waits for several periods; above quota and rollover it waits for nothing."""
        terms = (DAILY, 10, 20)
        charge(kept, "a", 10, terms)
        settle(kept, "a", 10)
        assert charge(kept, "b", 30, terms)[:3] == (0, 0, 3 * DAY)
        kept.advance(3 * DAY - 1)
        assert charge(kept, "b", 30, terms)[0] == 0
        kept.advance(1)
        assert charge(kept, "b", 30, terms)[0] == 1
        assert charge(kept, "c", 31, terms)[2] == -1

    def test_prepaid_credits_stand_beside_a_quota(self, kept: Kept) -> None:
        """The quota is spent first and lapses, prepaid credits stay; both come back where they came from."""
        grant(kept, "g", 5)
        assert charge(kept, "a", 12, self.DAILY_TEN)[1] == 3
        settle(kept, "a", 0)
        assert balance(kept) == 15
        charge(kept, "b", 12, self.DAILY_TEN)
        settle(kept, "b", 11)
        kept.advance(DAY)
        assert balance(kept) == 10 + 4
        assert charge(kept, "c", 15, self.DAILY_TEN)[2] == -1

    def test_what_comes_back_after_a_renewal_counts_as_rolled_over(self, kept: Kept) -> None:
        """A refund never lifts the quota above its amount and what may roll over."""
        for rollover, left in ((0, 10), (3, 13), (50, 26)):
            kept.advance(DAY)
            kept.entries.clear()
            terms = (DAILY, 10, rollover)
            charge(kept, "a", 6, terms, ttl=2 * DAY)
            kept.advance(DAY)
            assert charge(kept, "", 0, terms)[1] == 10 + min(4, rollover)
            settle(kept, "a", 0)
            assert balance(kept) == (left if rollover < 50 else 20)

    def test_a_debt_is_paid_from_the_quota(self, kept: Kept) -> None:
        """What a settlement took beyond everything is paid at the next renewals, once."""
        charge(kept, "a", 10, self.DAILY_TEN)
        settle(kept, "a", 24)
        assert balance(kept) == -14
        assert charge(kept, "b", 1, self.DAILY_TEN)[2] == 2 * DAY
        kept.advance(DAY)
        assert balance(kept) == -4
        kept.advance(DAY)
        assert charge(kept, "b", 1, self.DAILY_TEN)[1] == 5
        settle(kept, "b", 1)
        kept.advance(DAY)
        assert charge(kept, "", 0, self.DAILY_TEN)[1] == 10

    def test_a_debt_beyond_all_waiting_is_told_as_never(self, kept: Kept) -> None:
        """A wait of more than 1,500 periods is none."""
        charge(kept, "a", 1, (MONTHLY, 1, 0))
        settle(kept, "a", 1500)
        assert charge(kept, "b", 1, (MONTHLY, 1, 0))[2] > 0
        settle(kept, "b", 0)
        kept.entries.clear()
        charge(kept, "a", 1, (MONTHLY, 1, 0))
        settle(kept, "a", 1501)
        assert charge(kept, "b", 1, (MONTHLY, 1, 0))[2] == -1

    def test_another_plan_counts_what_was_used(self, kept: Kept) -> None:
        """Going up adds the difference, going down takes it, and going to and fro gains nothing."""
        gold = (DAILY, 100, 0)
        charge(kept, "a", 10, self.DAILY_TEN)
        assert charge(kept, "b", 90, gold)[:2] == (1, 0)
        for _ in range(3):
            assert charge(kept, "c", 1, self.DAILY_TEN)[:2] == (0, 0)
            assert charge(kept, "c", 1, gold)[:2] == (0, 0)

    def test_plans_of_different_periods_gain_one_renewal_at_most(self, kept: Kept) -> None:
        """A daily plan renews at midnight; going back to the monthly one does not begin its month again."""
        monthly = (MONTHLY, 50, 0)
        grant(kept, "g", 1)
        charge(kept, "a", 51, monthly)
        settle(kept, "a", 51)
        kept.advance(DAY)
        assert charge(kept, "b", 10, self.DAILY_TEN)[:2] == (1, 0)
        assert charge(kept, "c", 40, monthly)[:2] == (1, 0)
        assert charge(kept, "d", 1, monthly)[0] == charge(kept, "d", 1, self.DAILY_TEN)[0] == 0

    def test_a_plan_that_is_gone_gives_nothing_and_forgets_nothing(self, kept: Kept) -> None:
        """Without a quota only prepaid credits count; when it comes back, so does what was used of it."""
        charge(kept, "a", 7, self.DAILY_TEN)
        assert charge(kept, "b", 1, PREPAID) == (0, 0, -1, 0, 7)
        assert charge(kept, "b", 4, self.DAILY_TEN)[:2] == (0, 3)

    def test_looking_goes_by_the_plan_that_the_account_has(self, kept: Kept) -> None:
        """An unknown account is shown with the plan given, and is not stored for it; a known one with its own."""
        assert charge(kept, "", 0, self.DAILY_TEN) == (1, 10, DAY, 0, 0)
        assert kept.entries == {}
        charge(kept, "a", 1, self.DAILY_TEN)
        kept.advance(DAY)
        assert charge(kept, "", 0, (MONTHLY, 77, 0))[1] == 10
        assert told(kept)[-1] == ("renew", 10, 10)

    def test_an_account_ends_with_its_period(self, kept: Kept) -> None:
        """Nothing granted, nothing held, nothing to roll over: at the renewal it is as a new one, and not stored."""
        charge(kept, "a", 7, self.DAILY_TEN)
        settle(kept, "a", 7)
        assert kept.entries["k"].expires == self.MIDNIGHT + DAY
        assert kept.entries["k:journal"].expires == kept.now + 35 * DAY
        grant(kept, "g", 1)
        assert kept.entries["k"].expires > kept.now + 10_000 * DAY
        assert kept.entries["k:journal"].expires == kept.now + 400 * DAY

    @pytest.mark.parametrize(("rollover", "actual"), [(5, 1), (0, 25)])
    def test_what_rolls_over_and_debts_last_400_silent_days(self, kept: Kept, rollover: int, actual: int) -> None:
        """Then the account is forgotten."""
        charge(kept, "a", 1, (DAILY, 10, rollover))
        settle(kept, "a", actual)
        assert kept.entries["k"].expires == self.MIDNIGHT + DAY + 400 * DAY

    def test_a_hold_keeps_its_account_for_a_day(self, kept: Kept) -> None:
        """Work over midnight that outlasts its hold finds its account for a day after that, and no longer."""
        charge(kept, "a", 7, self.DAILY_TEN, ttl=DAY + MINUTE)
        end = kept.now + DAY + MINUTE + DAY
        assert kept.entries["k"].expires == kept.entries["k:holds"].expires == end
        kept("credits_hold", "k", 2 * DAY, "a")
        assert kept.entries["k"].expires == kept.entries["k:holds"].expires == kept.now + 3 * DAY
        kept.advance(3 * DAY)
        settle(kept, "a", 9)
        assert charge(kept, "", 0, self.DAILY_TEN)[1] == 10

    def test_late_work_of_an_account_that_is_gone_pays_nothing(self, kept: Kept) -> None:
        """The period in which it was held is over, and with it the account that would pay."""
        charge(kept, "late", 7, self.DAILY_TEN)
        kept.advance(MINUTE)
        charge(kept, "", 0)
        kept.advance(DAY - MINUTE)
        settle(kept, "late", 9)
        assert charge(kept, "", 0, self.DAILY_TEN)[1] == 10

    def test_a_clock_set_back_renews_nothing(self, kept: Kept) -> None:
        """The period under way stays the later one; the wait is for its end."""
        charge(kept, "a", 10, self.DAILY_TEN)
        kept.advance(-2 * DAY)
        assert charge(kept, "b", 1, self.DAILY_TEN)[:3] == (0, 0, 3 * DAY)
