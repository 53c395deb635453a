"""The ledger loses and invents nothing: what was granted and given is left, held or spent, whatever happens."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from forecourt.core.periods import DAILY, DAY, MONTHLY, WEEKLY, index
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.core.twins import Kept

LINES = 100
MINUTE = 60 * SECOND

ids = st.sampled_from("abcdefgh")
amounts = st.integers(1, 40)
times_told = st.integers(1, 3)


class Ledger(RuleBasedStateMachine):
    """An account whose quota rolls over without end, so that nothing ever lapses; every step may be told again.

    The model knows who holds what until when, whose hold expired, and whose id is remembered as paid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.terms = (0, 0, 0)
        self.granted = self.spent = 0
        self.began = 0
        self.grants: set[str] = set()
        self.held: dict[str, tuple[int, int]] = {}
        self.expired: dict[str, int] = {}
        self.paid: dict[str, int] = {}

    @initialize(every=st.sampled_from([0, DAILY, WEEKLY, MONTHLY]), amount=st.integers(1, 50))
    def open(self, every: int, amount: int) -> None:
        """Begin with a grant, and with a charge that makes the quota's first period begin."""
        self.terms = (every, amount, 1000 * amount) if every else (0, 0, 0)
        self.began = index(every, self.kept.now) if every else 0
        self.grant("first", 1, times=1)
        self.reserve("first", 1, MINUTE, times=1)
        self.settle("first", 1, keep=0, times=1)

    @rule(own=ids, amount=st.integers(-60, 60).filter(bool), times=times_told)
    def grant(self, own: str, amount: int, times: int) -> None:
        """Add or take credits; once for each id."""
        for _ in range(times):
            _, _, new = self.kept("credits_grant", "k", amount, own, 10_000 * DAY, LINES)
            assert new == (own not in self.grants)
            self.granted += amount if new else 0
            self.grants.add(own)

    @rule(own=ids, amount=amounts, ttl=st.sampled_from([1, MINUTE, DAY, 3 * DAY]), times=times_told)
    def reserve(self, own: str, amount: int, ttl: int, times: int) -> None:
        """Charge what the balance covers; what is held or paid already takes nothing more."""
        for _ in range(times):
            had = own in self.held or self.paid.get(own, 0) > self.kept.now
            before = self.balance()
            verdict, *_ = self.kept("credits_charge", "k", amount, ttl, own, *self.terms, LINES)
            assert verdict == (had or amount <= before)
            if verdict and not had:
                self.held[own] = amount, self.kept.now + ttl
                self.expired.pop(own, None)

    @rule(own=ids, actual=st.integers(0, 60), keep=st.sampled_from([0, MINUTE, DAY]), times=times_told)
    def settle(self, own: str, actual: int, keep: int, times: int) -> None:
        """Spend the actual amount once, if it is held or was held until a day ago; 0 is a refund."""
        for _ in range(times):
            owed = own in self.held or self.expired.get(own, 0) > self.kept.now
            self.kept("credits_settle", "k", actual, own, keep, LINES)
            if owed:
                self.spent += actual
                self.held.pop(own, None)
                self.expired.pop(own, None)
                if keep and actual:
                    self.paid[own] = self.kept.now + keep

    @rule(own=ids, ttl=st.sampled_from([1, MINUTE, DAY]))
    def keep(self, own: str, ttl: int) -> None:
        """Renew a hold."""
        self.kept("credits_hold", "k", ttl, own)
        if own in self.held:
            amount, until = self.held[own]
            self.held[own] = amount, max(until, self.kept.now + ttl)

    @rule(passing=st.integers(0, 3 * DAY) | st.sampled_from([1, MINUTE, DAY, 31 * DAY]))
    def pass_time(self, passing: int) -> None:
        """Let time pass, and look: expired holds come back, quotas renew."""
        self.kept.advance(passing)
        self.balance()
        for own in [own for own, (_, until) in self.held.items() if until <= self.kept.now]:
            del self.held[own]
            self.expired[own] = self.kept.now + DAY

    def balance(self) -> int:
        """Return the balance, by looking."""
        return int(self.kept("credits_charge", "k", 0, 1, "", *self.terms, LINES)[1])

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        """Balance, holds and what was spent add up to what was granted and what the quota gave."""
        _, balance, _, _, held = self.kept("credits_charge", "k", 0, 1, "", *self.terms, LINES)
        every, amount, _ = self.terms
        given = amount * (index(every, self.kept.now) - self.began + 1) if self.began else 0
        assert held == sum(amount for amount, _ in self.held.values())
        assert int(balance) + int(held) + self.spent == self.granted + given


Ledger.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestLedger = Ledger.TestCase
TestLedger.__doc__ = """No sequence of steps breaks the sum."""
