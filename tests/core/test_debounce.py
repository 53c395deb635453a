"""Debounce: worked examples, and a log of calls looked through each time as its oracle."""

from hypothesis import given, settings
from hypothesis import strategies as st

from forecourt.core.debounce import GRACE
from tests.core.bench import PARAMETERS, Bench, Limit, Move, examples, moves
from tests.core.histories import walk

MS = 1000
SECOND = 1_000_000


class Calls:
    """Every call, and every call that passed."""

    def __init__(self, limit: Limit) -> None:
        self.interval, self.max_wait = limit.parameters
        self.calls: list[int] = []
        self.passed: list[int] = []

    def call(self, now: int) -> int:
        """Return 0 when the call passes, else µs until one may, if none comes before."""
        self.calls.append(now)
        if len(self.calls) == 1 or self._opens(self.calls[-2]) <= now:
            self.passed.append(now)
            return 0
        return self._opens(now) - now

    def _opens(self, last: int) -> int:
        quiet = last + self.interval
        return min(quiet, self.passed[-1] + self.max_wait) if self.max_wait else quiet


@given(limit=PARAMETERS["debounce"], history=moves(60, plain=True))
@settings(max_examples=examples(60), deadline=None)
def test_the_first_of_a_flurry_passes(limit: Limit, history: list[Move]) -> None:
    """Which calls pass and how long the others are told to wait are those of a log of calls."""
    calls = Calls(limit)
    for asked in walk([limit], history, honest=True):
        assert asked.standing.retry == calls.call(asked.before.now)


def every(step: int, number: int, *args: int) -> list[int]:
    """Return which of so many calls, so far apart, pass a leading debounce."""
    bench = Bench("debounce")
    passed = []
    for _ in range(number):
        passed.append(int(bench.ask(*args, 0).passed))
        bench.now += step
    return passed


def test_a_steady_stream_is_one_flurry() -> None:
    """Every 40 ms with an interval of 80: only the first passes; with max_wait 150, one lets through now and then."""
    assert every(40 * MS, 7, 80 * MS, 0) == [1, 0, 0, 0, 0, 0, 0]
    assert every(40 * MS, 9, 80 * MS, 150 * MS) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert every(80 * MS, 3, 80 * MS, 0) == [1, 1, 1]


def test_a_shadow_re_arms_and_goes() -> None:
    """A shadow debounce lets all pass and says which it would not have, re-arming by those too."""
    bench = Bench("debounce")
    answers = []
    for _ in range(3):
        answers.append(bench.ask(80 * MS, 0, 1)[:3])
        bench.now += 40 * MS
    assert answers == [("go", 0, 0), ("go", 0, 80 * MS), ("go", 0, 80 * MS)]


def test_another_limits_refusal_leaves_no_mark() -> None:
    """A call that would pass and is refused by its group does not begin the quiet time; one it refuses re-arms it."""
    bench = Bench("debounce")
    assert bench.ask(80 * MS, 0, 0, group_goes=False).passed
    assert bench.ask(80 * MS, 0, 0).passed
    bench.now += 60 * MS
    assert not bench.ask(80 * MS, 0, 0, group_goes=False).passed
    bench.now += 60 * MS
    assert not bench.ask(80 * MS, 0, 0).passed


def test_a_clock_set_back_delays_for_an_interval_at_most() -> None:
    """An hour back, the quiet time begins anew and max_wait counts from now."""
    bench = Bench("debounce")
    bench.ask(80 * MS, 150 * MS, 0)
    bench.now -= 3600 * SECOND
    assert bench.ask(80 * MS, 150 * MS, 0)[:3] == ("refuse", 0, 80 * MS)
    bench.now += 75 * MS
    assert bench.ask(80 * MS, 150 * MS, 0)[:3] == ("refuse", 0, 75 * MS)
    bench.now += 75 * MS
    assert bench.ask(80 * MS, 150 * MS, 0).passed


INTERVAL = (80 * MS, 0, 0)
IMPATIENT = (80 * MS, 150 * MS, 0)


def test_the_last_of_a_flurry_runs() -> None:
    """Five calls 30 ms apart: each is told to wait, only the last may run, 80 ms after it came."""
    bench = Bench("debounce_trailing")
    for number in range(5):
        assert bench.ask(*INTERVAL, f"call {number}")[:4] == ("go", 0, 80 * MS, 80 * MS)
        bench.now += 30 * MS
    claims = bench.of("debounce_claim")
    assert claims.ask(*INTERVAL, "call 4")[:4] == ("refuse", 0, 50 * MS, 50 * MS)
    claims.now += 50 * MS - 1
    assert claims.ask(*INTERVAL, "call 4")[:3] == ("refuse", 0, 1)
    claims.now += 1
    for number in range(4):
        assert claims.ask(*INTERVAL, f"call {number}")[:4] == ("refuse", 0, -1, 0)
    assert claims.ask(*INTERVAL, "call 4")[:4] == ("go", 0, 0, 0)
    assert claims.ask(*INTERVAL, "call 4")[:3] == ("refuse", 0, -1)


def test_max_wait_lets_one_run_now_and_then() -> None:
    """Under a steady stream the call that is last when max_wait is over runs, and a new flurry begins."""
    bench = Bench("debounce_trailing")
    waits = []
    for number in range(5):
        waits.append(bench.ask(*IMPATIENT, f"call {number}").retry // MS)
        bench.now += 30 * MS
    assert waits == [80, 80, 80, 60, 30]
    assert bench.of("debounce_claim").ask(*IMPATIENT, "call 4").passed
    late = bench.later(MS)
    assert late.ask(*IMPATIENT, "call 5").retry == 0
    done = bench.of("debounce_claim")
    done.ask(*IMPATIENT, "call 4")
    assert done.of("debounce_trailing").ask(*IMPATIENT, "call 6").retry == 80 * MS


def test_a_flurry_that_nobody_claims_is_forgotten() -> None:
    """Ten seconds after it was due, the last call may not run any more and the next one begins a flurry."""
    bench = Bench("debounce_trailing")
    bench.ask(*IMPATIENT, "a")
    bench.now += 80 * MS + GRACE - 1
    assert bench.of("debounce_claim").ask(*IMPATIENT, "a").passed
    bench.now += 1
    assert bench.of("debounce_claim").ask(*IMPATIENT, "a").retry == -1
    assert bench.ask(*IMPATIENT, "b").retry == 80 * MS


def test_a_shadow_never_makes_wait() -> None:
    """A shadow arrival waits for nothing, and its claim goes, saying what it would have been told."""
    bench = Bench("debounce_trailing")
    assert bench.ask(80 * MS, 0, 1, "a")[:4] == ("go", 0, 0, 0)
    bench.ask(80 * MS, 0, 1, "b")
    claims = bench.of("debounce_claim")
    assert claims.ask(80 * MS, 0, 1, "a")[:3] == ("go", 0, -1)
    assert claims.ask(80 * MS, 0, 1, "b")[:3] == ("go", 0, 80 * MS)
    claims.now += 80 * MS
    assert claims.ask(80 * MS, 0, 1, "b")[:3] == ("go", 0, 0)


def test_a_claim_after_a_clock_set_back_waits_for_an_interval_at_most() -> None:
    """An hour back, the claim is due an interval from now, and the refusal keeps that."""
    bench = Bench("debounce_trailing")
    bench.ask(*IMPATIENT, "a")
    bench.now -= 3600 * SECOND
    claims = bench.of("debounce_claim")
    assert claims.ask(*IMPATIENT, "a")[:3] == ("refuse", 0, 80 * MS)
    claims.now += 80 * MS
    assert claims.ask(*IMPATIENT, "a").passed


def test_max_wait_holds_after_a_clock_set_back() -> None:
    """An hour back, a steady stream of arrivals is let through once max_wait has passed from then."""
    bench = Bench("debounce_trailing")
    bench.ask(*IMPATIENT, "a")
    bench.now -= 3600 * SECOND
    waits = []
    for number in range(5):
        waits.append(bench.ask(*IMPATIENT, f"call {number}").retry // MS)
        bench.now += 30 * MS
    assert waits == [80, 80, 80, 60, 30]


def test_a_shadow_claim_after_a_clock_set_back_is_due_in_time() -> None:
    """What a claim draws near it keeps, in shadow too."""
    bench = Bench("debounce_trailing")
    bench.ask(80 * MS, 0, 1, "a")
    bench.now -= 3600 * SECOND
    claims = bench.of("debounce_claim")
    assert claims.ask(80 * MS, 0, 1, "a")[:3] == ("go", 0, 80 * MS)
    claims.now += 80 * MS
    assert claims.ask(80 * MS, 0, 1, "a")[:3] == ("go", 0, 0)


@given(
    interval=st.integers(1, 40),
    max_wait=st.integers(0, 60),
    calls=st.lists(st.integers(0, 30), min_size=1, max_size=30),
)
@settings(max_examples=examples(60), deadline=None)
def test_of_every_flurry_one_runs(interval: int, max_wait: int, calls: list[int]) -> None:
    """Callers that wait as told and then claim: the last of each flurry runs, nobody else does, and nobody hangs."""
    bench = Bench("debounce_trailing", now=0)
    args = (interval, max_wait, 0)
    arrivals = [sum(calls[: number + 1]) for number in range(len(calls))]
    waiting: dict[str, int] = {}
    ran: list[int] = []
    for now in range(arrivals[-1] + 2 * interval + 2):
        bench.now = now
        for caller, due in sorted(waiting.items(), key=lambda each: int(each[0])):
            if due > now:
                continue
            claims = bench.of("debounce_claim")
            answer = claims.ask(*args, caller)
            bench.kept = claims.kept
            del waiting[caller]
            if answer.passed:
                ran.append(int(caller))
            elif answer.retry > 0:
                waiting[caller] = now + answer.retry
        for number in [each for each, arrival in enumerate(arrivals) if arrival == now]:
            waiting[str(number)] = now + bench.ask(*args, str(number)).retry
    assert not waiting
    assert ran == expected(arrivals, interval, max_wait)


def expected(arrivals: list[int], interval: int, max_wait: int) -> list[int]:
    """Return which callers run: those after whom it is quiet for an interval, or who are last when time is up."""
    ran: list[int] = []
    first = arrivals[0]
    for number, arrival in enumerate(arrivals):
        due = arrival + interval
        if max_wait:
            due = min(due, max(arrival, first + max_wait))
        following = arrivals[number + 1] if number + 1 < len(arrivals) else None
        if following is None or following >= due + (due == arrival):
            ran.append(number)
            first = following if following is not None else 0
    return ran
