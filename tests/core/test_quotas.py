"""Accounts that are given credits anew in each period: renewals, rollovers, plans that change, debts."""

import pytest

from forecourt.core.periods import DAILY, DAY, MONTHLY
from forecourt.types import SECOND
from tests.core.accounting import MINUTE, PREPAID, balance, charge, grant, settle, told
from tests.core.twins import Kept

DAILY_TEN = (DAILY, 10, 0)
MIDNIGHT = 1_700_006_400_000_000


@pytest.fixture
def kept() -> Kept:
    """Midnight in UTC."""
    return Kept(MIDNIGHT)


def test_a_quota_is_spent_and_renewed(kept: Kept) -> None:
    """A refusal names the instant of the renewal, which is right from both sides; what was left lapses."""
    kept.advance(3600 * SECOND)
    assert charge(kept, "a", 8, DAILY_TEN) == (1, 2, DAY - 3600 * SECOND, 8, 8)
    settle(kept, "a", 8)
    _, _, wait, *_ = charge(kept, "b", 3, DAILY_TEN)
    assert wait == DAY - 3600 * SECOND
    kept.advance(wait - 1)
    assert charge(kept, "b", 3, DAILY_TEN) == (0, 2, 1, 0, 0)
    kept.advance(1)
    assert charge(kept, "b", 3, DAILY_TEN) == (1, 7, DAY, 3, 3)


def test_what_is_left_rolls_over_up_to_the_cap(kept: Kept) -> None:
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


def test_the_wait_counts_the_renewals_that_are_needed(kept: Kept) -> None:
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


def test_prepaid_credits_stand_beside_a_quota(kept: Kept) -> None:
    """The quota is spent first and lapses, prepaid credits stay; both come back where they came from."""
    grant(kept, "g", 5)
    assert charge(kept, "a", 12, DAILY_TEN)[1] == 3
    settle(kept, "a", 0)
    assert balance(kept) == 15
    charge(kept, "b", 12, DAILY_TEN)
    settle(kept, "b", 11)
    kept.advance(DAY)
    assert balance(kept) == 10 + 4
    assert charge(kept, "c", 15, DAILY_TEN)[2] == -1


def test_what_comes_back_after_a_renewal_counts_as_rolled_over(kept: Kept) -> None:
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


def test_a_debt_is_paid_from_the_quota(kept: Kept) -> None:
    """What a settlement took beyond everything is paid at the next renewals, once."""
    charge(kept, "a", 10, DAILY_TEN)
    settle(kept, "a", 24)
    assert balance(kept) == -14
    assert charge(kept, "b", 1, DAILY_TEN)[2] == 2 * DAY
    kept.advance(DAY)
    assert balance(kept) == -4
    kept.advance(DAY)
    assert charge(kept, "b", 1, DAILY_TEN)[1] == 5
    settle(kept, "b", 1)
    kept.advance(DAY)
    assert charge(kept, "", 0, DAILY_TEN)[1] == 10


def test_a_debt_beyond_all_waiting_is_told_as_never(kept: Kept) -> None:
    """A wait of more than 1,500 periods is none."""
    charge(kept, "a", 1, (MONTHLY, 1, 0))
    settle(kept, "a", 1500)
    assert charge(kept, "b", 1, (MONTHLY, 1, 0))[2] > 0
    settle(kept, "b", 0)
    kept.entries.clear()
    charge(kept, "a", 1, (MONTHLY, 1, 0))
    settle(kept, "a", 1501)
    assert charge(kept, "b", 1, (MONTHLY, 1, 0))[2] == -1


def test_another_plan_counts_what_was_used(kept: Kept) -> None:
    """Going up adds the difference, going down takes it, and going to and fro gains nothing."""
    gold = (DAILY, 100, 0)
    charge(kept, "a", 10, DAILY_TEN)
    assert charge(kept, "b", 90, gold)[:2] == (1, 0)
    for _ in range(3):
        assert charge(kept, "c", 1, DAILY_TEN)[:2] == (0, 0)
        assert charge(kept, "c", 1, gold)[:2] == (0, 0)


def test_plans_of_different_periods_gain_one_renewal_at_most(kept: Kept) -> None:
    """A daily plan renews at midnight; going back to the monthly one does not begin its month again."""
    monthly = (MONTHLY, 50, 0)
    grant(kept, "g", 1)
    charge(kept, "a", 51, monthly)
    settle(kept, "a", 51)
    kept.advance(DAY)
    assert charge(kept, "b", 10, DAILY_TEN)[:2] == (1, 0)
    assert charge(kept, "c", 40, monthly)[:2] == (1, 0)
    assert charge(kept, "d", 1, monthly)[0] == charge(kept, "d", 1, DAILY_TEN)[0] == 0


def test_a_plan_that_is_gone_gives_nothing_and_forgets_nothing(kept: Kept) -> None:
    """Without a quota only prepaid credits count; when it comes back, so does what was used of it."""
    charge(kept, "a", 7, DAILY_TEN)
    assert charge(kept, "b", 1, PREPAID) == (0, 0, -1, 0, 7)
    assert charge(kept, "b", 4, DAILY_TEN)[:2] == (0, 3)


def test_looking_goes_by_the_plan_that_the_account_has(kept: Kept) -> None:
    """An unknown account is shown with the plan given, and is not stored for it; a known one with its own."""
    assert charge(kept, "", 0, DAILY_TEN) == (1, 10, DAY, 0, 0)
    assert kept.entries == {}
    charge(kept, "a", 1, DAILY_TEN)
    kept.advance(DAY)
    assert charge(kept, "", 0, (MONTHLY, 77, 0))[1] == 10
    assert told(kept)[-1] == ("renew", 10, 10)


def test_an_account_ends_with_its_period(kept: Kept) -> None:
    """Nothing granted, nothing held, nothing to roll over: at the renewal it is as a new one, and not stored."""
    charge(kept, "a", 7, DAILY_TEN)
    settle(kept, "a", 7)
    assert kept.entries["k"].expires == MIDNIGHT + DAY
    assert kept.entries["k:journal"].expires == kept.now + 35 * DAY
    grant(kept, "g", 1)
    assert kept.entries["k"].expires > kept.now + 10_000 * DAY
    assert kept.entries["k:journal"].expires == kept.now + 400 * DAY


@pytest.mark.parametrize(("rollover", "actual"), [(5, 1), (0, 25)])
def test_what_rolls_over_and_debts_last_400_silent_days(kept: Kept, rollover: int, actual: int) -> None:
    """Then the account is forgotten."""
    charge(kept, "a", 1, (DAILY, 10, rollover))
    settle(kept, "a", actual)
    assert kept.entries["k"].expires == MIDNIGHT + DAY + 400 * DAY


def test_a_hold_keeps_its_account_for_a_day(kept: Kept) -> None:
    """Work over midnight that outlasts its hold finds its account for a day after that, and no longer."""
    charge(kept, "a", 7, DAILY_TEN, ttl=DAY + MINUTE)
    end = kept.now + DAY + MINUTE + DAY
    assert kept.entries["k"].expires == kept.entries["k:holds"].expires == end
    kept("credits_hold", "k", 2 * DAY, "a")
    assert kept.entries["k"].expires == kept.entries["k:holds"].expires == kept.now + 3 * DAY
    kept.advance(3 * DAY)
    settle(kept, "a", 9)
    assert charge(kept, "", 0, DAILY_TEN)[1] == 10


def test_late_work_of_an_account_that_is_gone_pays_nothing(kept: Kept) -> None:
    """The period in which it was held is over, and with it the account that would pay."""
    charge(kept, "late", 7, DAILY_TEN)
    kept.advance(MINUTE)
    charge(kept, "", 0)
    kept.advance(DAY - MINUTE)
    settle(kept, "late", 9)
    assert charge(kept, "", 0, DAILY_TEN)[1] == 10


def test_a_clock_set_back_renews_nothing(kept: Kept) -> None:
    """The period under way stays the later one; the wait is for its end."""
    charge(kept, "a", 10, DAILY_TEN)
    kept.advance(-2 * DAY)
    assert charge(kept, "b", 1, DAILY_TEN)[:3] == (0, 0, 3 * DAY)


def test_a_clock_set_back_under_another_plan_goes_by_the_period_that_began(kept: Kept) -> None:
    """From 15 November back to 26 October: a monthly quota still renews at the end of November."""
    charge(kept, "a", 10, DAILY_TEN)
    kept.advance(-20 * DAY)
    to_december = (5 + 30 + 1) * DAY
    assert charge(kept, "b", 11, (MONTHLY, 20, 0)) == (0, 10, to_december, 0, 10)
    assert charge(kept, "b", 10, (MONTHLY, 20, 0)) == (1, 0, to_december, 10, 20)
