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
attempts = st.sampled_from([*"abcdefgh", *(f"{own}/{number}" for own in "ab" for number in range(3))])
amounts = st.integers(1, 40)
times_told = st.integers(1, 3)


class Ledger(RuleBasedStateMachine):
    """An account whose quota rolls over without end, so that nothing ever lapses; every step may be told again.

    The model knows what is held until when and by which attempts, whose hold expired, and which ids were paid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.terms = (0, 0, 0)
        self.granted = self.spent = 0
        self.began = 0
        self.grants: set[str] = set()
        self.held: dict[str, tuple[int, int, list[str]]] = {}
        self.expired: dict[str, int] = {}
        self.paid: dict[str, int] = {}

    @initialize(every=st.sampled_from([0, DAILY, WEEKLY, MONTHLY]), amount=st.integers(1, 50))
    def open(self, every: int, amount: int) -> None:
        """Begin with a grant, and with a charge that makes the quota's first period begin."""
        self.terms = (every, amount, 1000 * amount) if every else (0, 0, 0)
        self.began = index(every, self.kept.now) if every else 0
        self.grant("first", 1, times=1)
        self.reserve("f", 1, MINUTE, times=1)
        self.settle("f", 1, keep=0, times=1)

    @rule(own=ids, amount=st.integers(-60, 60).filter(bool), times=times_told)
    def grant(self, own: str, amount: int, times: int) -> None:
        """Add or take credits; once for each id."""
        for _ in range(times):
            _, _, new = self.kept("credits_grant", "k", amount, own, 10_000 * DAY, LINES)
            assert new == (own not in self.grants)
            self.granted += amount if new else 0
            self.grants.add(own)

    @rule(attempt=attempts, amount=amounts, ttl=st.sampled_from([1, MINUTE, DAY, 3 * DAY]), times=times_told)
    def reserve(self, attempt: str, amount: int, ttl: int, times: int) -> None:
        """Charge what the balance covers; what is held or paid already takes nothing more, a hold is shared."""
        own = attempt[0]
        for _ in range(times):
            had = own in self.held or self.paid.get(own, 0) > self.kept.now
            before = self.balance()
            verdict, *_ = self.kept("credits_charge", "k", amount, ttl, attempt, *self.terms, LINES)
            assert verdict == (had or amount <= before)
            if verdict and not had:
                self.held[own] = amount, self.kept.now + ttl, [attempt]
                self.expired.pop(attempt, None)
            elif own in self.held and attempt not in self.held[own][2]:
                held, until, by = self.held[own]
                self.held[own] = held, max(until, self.kept.now + ttl), [*by, attempt]
                self.expired.pop(attempt, None)

    @rule(attempt=attempts, actual=st.integers(0, 60), keep=st.sampled_from([0, MINUTE, DAY]), times=times_told)
    def settle(self, attempt: str, actual: int, keep: int, times: int) -> None:
        """Spend the actual amount once, if it is held or was until a day ago; 0 is a refund, of the last attempt."""
        own = attempt[0]
        for _ in range(times):
            by = self.held[own][2] if own in self.held else []
            paid = self.paid.get(own, 0) > self.kept.now
            late = own not in self.held and not paid and self.expired.get(attempt, 0) > self.kept.now
            self.kept("credits_settle", "k", actual, attempt, keep, LINES)
            if attempt in by and not actual and len(by) > 1:
                by.remove(attempt)
            elif attempt in by or late:
                self.spent += actual
                self.held.pop(own, None)
                self.expired.pop(attempt, None)
                if keep and actual:
                    self.paid[own] = self.kept.now + keep

    @rule(attempt=attempts, ttl=st.sampled_from([1, MINUTE, DAY]))
    def keep(self, attempt: str, ttl: int) -> None:
        """Renew a hold."""
        own = attempt[0]
        self.kept("credits_hold", "k", ttl, attempt)
        if own in self.held:
            amount, until, by = self.held[own]
            self.held[own] = amount, max(until, self.kept.now + ttl), by

    @rule(passing=st.integers(0, 3 * DAY) | st.sampled_from([1, MINUTE, DAY, 31 * DAY]))
    def pass_time(self, passing: int) -> None:
        """Let time pass, and look: expired holds come back, quotas renew."""
        self.kept.advance(passing)
        self.balance()
        for own in [own for own, (_, until, _) in self.held.items() if until <= self.kept.now]:
            _, _, by = self.held.pop(own)
            self.expired |= dict.fromkeys(by, self.kept.now + DAY)

    def balance(self) -> int:
        """Return the balance, by looking."""
        return int(self.kept("credits_charge", "k", 0, 1, "", *self.terms, LINES)[1])

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        """Balance, holds and what was spent add up to what was granted and what the quota gave."""
        _, balance, _, _, held = self.kept("credits_charge", "k", 0, 1, "", *self.terms, LINES)
        every, amount, _ = self.terms
        given = amount * (index(every, self.kept.now) - self.began + 1) if self.began else 0
        assert held == sum(amount for amount, _, _ in self.held.values())
        assert int(balance) + int(held) + self.spent == self.granted + given


Ledger.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestLedger = Ledger.TestCase
TestLedger.__doc__ = """No sequence of steps breaks the sum."""
