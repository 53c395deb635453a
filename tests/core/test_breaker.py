"""The circuit breaker's decisions: beside a naive oracle, beside interlock-cb, and case by case."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from interlock import Config
from interlock._state_machine import StateMachine
from interlock.outcome import Outcome
from interlock.state import State as Theirs

from forecourt.core.breaker import FULL, Circuit, Closed, Ended, HalfOpen, Open, Permit, Refused, Rules
from forecourt.types import SECOND
from tests.core.bench import examples

EXAMPLES = examples(25)
START = 1_700_000_000 * SECOND


def circuit(**rules: int | None) -> Circuit:
    """Build a circuit without any randomness."""
    return Circuit(Rules(**rules), lambda: 0.0)  # type: ignore[arg-type]  # the tests' own words


def permit(told: Permit | Refused) -> Permit:
    """Return a permit that must have been given."""
    assert isinstance(told, Permit)
    return told


def stands(tested: Circuit) -> object:
    """Return where a circuit stands now."""
    return tested.state


def fail(tested: Circuit, times: int = 1, now: int = START) -> None:
    """Let so many calls run and fail."""
    for _ in range(times):
        tested.settle(permit(tested.admit(now)), "failure", now)


def test_failures_in_a_row_open_it() -> None:
    """The fifth of five; a success between them begins the row anew."""
    tested = circuit()
    fail(tested, 4)
    tested.settle(permit(tested.admit(START)), "success", START)
    fail(tested, 4)
    assert isinstance(stands(tested), Closed)
    fail(tested)
    assert stands(tested) == Open(1, START, 30 * SECOND)
    assert tested.admit(START + SECOND) == Refused(29 * SECOND)
    assert "Open" in repr(tested)


def test_ignored_calls_change_nothing() -> None:
    """Neither a failure nor a success: the row goes on as if they had not been."""
    tested = circuit(fail_max=2)
    fail(tested)
    for _ in range(10):
        tested.settle(permit(tested.admit(START)), "ignored", START)
    fail(tested)
    assert isinstance(stands(tested), Open)


def opened(**rules: int | None) -> Circuit:
    """Build a circuit that one failure has opened, 30 seconds ago."""
    tested = circuit(fail_max=1, **rules)
    fail(tested, now=START - 30 * SECOND)
    return tested


def test_half_open_admits_exactly_the_probes() -> None:
    """Of a hundred at once, as many as are allowed; the others are told a second."""
    for probes in (1, 3):
        tested = opened(probes=probes)
        told = [tested.admit(START) for _ in range(100)]
        assert sum(isinstance(each, Permit) for each in told) == probes
        assert told[-1] == Refused(FULL)


def test_an_ignored_probe_gives_its_place_back() -> None:
    """The next caller probes; nothing was learnt."""
    tested = opened()
    tested.settle(permit(tested.admit(START)), "ignored", START)
    assert isinstance(stands(tested), HalfOpen)
    tested.settle(permit(tested.admit(START)), "success", START)
    assert stands(tested) == Closed(3, None)


def test_enough_successes_close_it() -> None:
    """Not one less."""
    tested = opened(successes=3)
    for _ in range(2):
        tested.settle(permit(tested.admit(START)), "success", START)
    assert isinstance(stands(tested), HalfOpen)
    tested.settle(permit(tested.admit(START)), "success", START)
    assert isinstance(stands(tested), Closed)


def test_failed_probes_wait_longer_each_time() -> None:
    """Twice as long, up to the longest; closed again, it begins with the first."""
    tested, now = opened(max_reset=100 * SECOND), START
    waits = []
    for _ in range(4):
        fail(tested, now=now)
        state = stands(tested)
        assert isinstance(state, Open)
        waits.append(state.wait // SECOND)
        now += state.wait
    assert waits == [60, 100, 100, 100]
    tested.settle(permit(tested.admit(now)), "success", now)
    fail(tested, now=now)
    assert isinstance(tested.state, Open)
    assert tested.state.wait == 30 * SECOND


def test_waits_are_spread_by_chance() -> None:
    """Up to the jitter's share longer, never shorter."""
    rules = Rules(reset=10 * SECOND, jitter=200_000)
    assert [rules.wait(0, random) for random in (0.0, 0.5, 1.0)] == [10 * SECOND, 11 * SECOND, 12 * SECOND]


def test_a_probe_that_hangs_loses_its_place() -> None:
    """At its deadline another may probe; should the first succeed after all, it counts."""
    tested = opened(probe_deadline=5 * SECOND)
    first = permit(tested.admit(START))
    assert tested.admit(START + 5 * SECOND - 1) == Refused(FULL)
    permit(tested.admit(START + 5 * SECOND))
    tested.settle(first, "success", START + 6 * SECOND)
    assert isinstance(stands(tested), Closed)


def test_late_results_say_nothing() -> None:
    """A call of before the circuit opened, a probe of before it opened again: dropped."""
    tested = circuit(fail_max=1, probes=2)
    old = [permit(tested.admit(START)) for _ in range(3)]
    tested.settle(old[0], "failure", START)
    before = tested.state
    tested.settle(old[1], "failure", START + SECOND)
    tested.settle(old[2], "success", START + SECOND)
    assert stands(tested) == before
    now = START + 30 * SECOND
    failing, succeeding = permit(tested.admit(now)), permit(tested.admit(now))
    tested.settle(failing, "failure", now)
    tested.settle(succeeding, "success", now)
    assert isinstance(stands(tested), Open)


def test_a_share_of_failures_opens_it() -> None:
    """Half of the last calls, once there are enough of them; in a row or not."""
    tested = circuit(fail_max=0, failure_rate=500_000, window=10, minimum=10)
    outcomes: list[Ended] = ["failure", "success"]
    for number in range(9):
        tested.settle(permit(tested.admit(START)), outcomes[number % 2], START)
    assert isinstance(stands(tested), Closed)
    fail(tested)
    assert isinstance(stands(tested), Open)


def test_a_share_of_slow_calls_opens_it() -> None:
    """However they end; a probe that is slow has not shown that anything is better."""
    tested = circuit(fail_max=0, slow_call=2 * SECOND, slow_rate=500_000, minimum=2)
    tested.settle(permit(tested.admit(START)), "success", START + 2 * SECOND - 1)
    tested.settle(permit(tested.admit(START)), "success", START + 2 * SECOND)
    assert isinstance(stands(tested), Open)
    now = START + 60 * SECOND
    tested.settle(permit(tested.admit(now)), "success", now + 3 * SECOND)
    assert isinstance(stands(tested), Open)


def test_a_window_by_time_forgets() -> None:
    """Failures older than the window count no more."""
    tested = circuit(fail_max=0, failure_rate=600_000, span=10 * SECOND, minimum=4)
    fail(tested, 3)
    later = START + 11 * SECOND
    fail(tested, 1, later)
    for _ in range(2):
        tested.settle(permit(tested.admit(later)), "success", later)
    fail(tested, 1, later)
    assert isinstance(stands(tested), Closed)
    fail(tested, 1, later)
    assert isinstance(stands(tested), Open)


def test_a_clock_set_back_prolongs_by_one_wait_at_most() -> None:
    """The wait begins again, and a probe's place is not held for ever."""
    tested = opened()
    back = START - 3600 * SECOND
    assert tested.admit(back) == Refused(30 * SECOND)
    now = back + 30 * SECOND
    permit(tested.admit(now))
    assert isinstance(tested.admit(now - 7200 * SECOND), Permit)


def test_an_operator_opens_and_closes() -> None:
    """At once, from any state; results of before say nothing."""
    tested = circuit()
    old = permit(tested.admit(START))
    tested.open(START, 7 * SECOND)
    assert tested.admit(START) == Refused(7 * SECOND)
    tested.settle(Permit(tested.state.generation, START), "failure", START)
    tested.close()
    tested.settle(old, "failure", START)
    assert stands(tested) == Closed(2, None)


@dataclass
class Naive:
    """The oracle: lists of what happened, and no cleverness."""

    fail_max: int
    probes: int
    successes: int
    reset: int
    place: str = "closed"
    era: int = 0
    ended: list[str] = field(default_factory=list)
    since: int = 0
    failed_rounds: int = 0
    under_way: set[int] = field(default_factory=set)

    def turn(self, place: str, now: int) -> None:
        """Move on to another place, with nothing remembered."""
        self.place, self.since, self.ended, self.under_way = place, now, [], set()
        self.era += 1

    def may(self, now: int, ticket: int) -> bool:
        """Say whether a call may run."""
        if self.place == "open" and now >= self.since + min(self.reset * 2**self.failed_rounds, 4 * self.reset):
            self.turn("half-open", now)
        if self.place == "half-open" and len(self.under_way) < self.probes:
            self.under_way.add(ticket)
            return True
        return self.place == "closed"

    def end(self, era: int, ticket: int, how: str, now: int) -> None:
        """Hear how a call ended."""
        if era != self.era:
            return
        self.under_way.discard(ticket)
        if how == "ignored":
            return
        self.ended.append(how)
        if self.place == "closed" and self.ended[-self.fail_max :] == ["failure"] * self.fail_max:
            self.failed_rounds = 0
            self.turn("open", now)
        elif self.place == "half-open" and how == "failure":
            self.failed_rounds += 1
            self.turn("open", now)
        elif self.place == "half-open" and len(self.ended) == self.successes:
            self.turn("closed", now)


class AgainstTheOracle(RuleBasedStateMachine):
    """Calls begin and end in any order, time passes, operators act: the circuit stands where the oracle does."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.tested = circuit(fail_max=3, probes=2, successes=2, reset=10, max_reset=40, probe_deadline=10**15)
        self.naive = Naive(3, 2, 2, 10)
        self.calls: list[tuple[Permit, int, int]] = []
        self.count = 0

    @rule(times=st.integers(1, 4))
    def begin(self, times: int) -> None:
        """Ask for a few calls at once."""
        for _ in range(times):
            self.count += 1
            told = self.tested.admit(self.now)
            assert isinstance(told, Permit) == self.naive.may(self.now, self.count)
            if isinstance(told, Permit):
                self.calls.append((told, self.naive.era, self.count))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 1000), how=st.sampled_from(["success", "failure", "failure", "ignored"]))
    def end(self, which: int, how: Ended) -> None:
        """End any call that is under way."""
        told, era, ticket = self.calls.pop(which % len(self.calls))
        self.tested.settle(told, how, self.now)
        self.naive.end(era, ticket, how, self.now)

    @rule(passed=st.sampled_from([1, 9, 10, 20, 40]))
    def wait(self, passed: int) -> None:
        """Let time pass."""
        self.now += passed

    @rule(opens=st.booleans())
    def operate(self, opens: bool) -> None:
        """Open or close by hand."""
        if opens:
            self.tested.open(self.now)
        else:
            self.tested.close()
        self.naive.failed_rounds = 0
        self.naive.turn("open" if opens else "closed", self.now)

    @invariant()
    def agree(self) -> None:
        """Both stand in the same place, and no more probes are under way than may be."""
        places = {Closed: "closed", Open: "open", HalfOpen: "half-open"}
        assert places[type(self.tested.state)] == self.naive.place
        if isinstance(self.tested.state, HalfOpen):
            assert len(self.tested.state.probes) == len(self.naive.under_way) <= 2


class TheirClock:
    """Tells interlock-cb the time."""

    now = 0

    def monotonic(self) -> float:
        """Return seconds."""
        return float(self.now)


class BesideInterlock(RuleBasedStateMachine):
    """The same history, told to interlock-cb's state machine: it decides the same by a failure rate."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = TheirClock()
        config = Config(
            failure_rate_threshold=0.5,
            minimum_number_of_calls=4,
            permitted_calls_in_half_open=1,
            wait_duration_in_open=10.0,
            wait_duration_backoff_multiplier=2.0,
            wait_duration_in_open_max=40.0,
            window_size=6,
        )
        self.theirs = StateMachine(config=config, clock=self.clock)
        self.ours = circuit(
            fail_max=0, failure_rate=500_000, window=6, minimum=4, reset=10 * SECOND, max_reset=40 * SECOND,
            probe_deadline=10**15,
        )  # fmt: skip
        self.calls: list[tuple[Permit, int]] = []

    @property
    def now(self) -> int:
        """The same instant, as we tell time."""
        return START + self.clock.now * SECOND

    @rule(times=st.integers(1, 4))
    def begin(self, times: int) -> None:
        """Ask both for a few calls at once."""
        for _ in range(times):
            told = self.ours.admit(self.now)
            assert isinstance(told, Permit) == self.theirs.acquire()
            if isinstance(told, Permit):
                self.calls.append((told, self.theirs.generation))

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 1000), how=st.sampled_from(["success", "failure", "ignored"]))
    def end(self, which: int, how: Ended) -> None:
        """End any call that is under way."""
        told, generation = self.calls.pop(which % len(self.calls))
        self.ours.settle(told, how, self.now)
        if how == "ignored":
            self.theirs.release_probe(generation=generation)
        else:
            self.theirs.record(Outcome(how), generation=generation)

    @rule(seconds=st.sampled_from([1, 9, 10, 20, 40]))
    def wait(self, seconds: int) -> None:
        """Let time pass for both."""
        self.clock.now += seconds

    @invariant()
    def agree(self) -> None:
        """Both stand in the same place."""
        places = {Closed: Theirs.CLOSED, Open: Theirs.OPEN, HalfOpen: Theirs.HALF_OPEN}
        assert places[type(self.ours.state)] == self.theirs.state


TestAgainstTheOracle = AgainstTheOracle.TestCase
TestBesideInterlock = BesideInterlock.TestCase
for case in (TestAgainstTheOracle, TestBesideInterlock):
    case.settings = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("wrong", [{"probes": 1}])
def test_the_oracle_can_disagree(wrong: dict[str, int]) -> None:
    """A circuit by other rules is told from the oracle."""
    tested, naive = opened(**wrong), Naive(1, 2, 1, 30 * SECOND, "half-open", 2)
    told = [(isinstance(tested.admit(START), Permit), naive.may(START, number)) for number in range(2)]
    assert told == [(True, True), (False, True)]
