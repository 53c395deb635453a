"""Circuit breaker: decides from the calls that ended whether the next may run.

    from        when                                                            to
    ─────────   ─────────────────────────────────────────────────────────────   ─────────
    Closed      `fail_max` failures in a row, or the window's share of          Open
                failures or of slow calls has reached its bound
    Open        its wait is over and somebody calls                             HalfOpen
    HalfOpen    `successes` calls have succeeded                                Closed
    HalfOpen    a call failed, or succeeded too slowly                          Open, for longer
    any         an operator says so                                             Open, Closed

Four things make it right where calls overlap, as they do in every service:

- **Generations.** Each transition begins a new one, and a permit carries the generation that granted it. What ends
  after the circuit has moved on says nothing of the present and is dropped: a late success closes nothing that another
  call has just opened, a late failure prolongs nothing.
- **Bounded probes.** Half-open admits `probes` calls at once and no more. A probe that does not end by its deadline
  loses its place, so that a call which hangs cannot keep the circuit half-open for ever; should it end after all, in
  the same generation, it still counts.
- **Three outcomes.** Success, failure, and "ignored": a client that left, a cancelled call. An ignored call is neither;
  it gives its place back and changes nothing.
- **Growing waits.** Each failed probe doubles the wait up to `max_reset`. A random share of it is added, so that many
  processes do not all probe at the same instant.

Time and randomness are arguments. Rates are whole numbers of millionths. A clock that is set back prolongs an open
circuit by one wait at most.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, assert_never

from forecourt.core.outcomes import CountWindow, TimeWindow, Window
from forecourt.types import SECOND

Ended = Literal["success", "failure", "ignored"]

MILLION = 1_000_000

FULL = SECOND
"""How long callers are asked to wait while all probes are under way, in µs: nobody knows when those end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a circuit opens and how it closes again; durations in µs, shares in millionths.

    `fail_max` failures in a row (0: not counted). Of the last `window` calls, or those of the last `span` µs, once
    there are `minimum`: a share of failures, or of calls that took `slow_call` or longer.
    """

    fail_max: int = 5
    reset: int = 30 * SECOND
    max_reset: int = 120 * SECOND
    jitter: int = 0
    successes: int = 1
    probes: int = 1
    probe_deadline: int = 30 * SECOND
    window: int = 100
    span: int = 0
    minimum: int = 1
    failure_rate: int | None = None
    slow_call: int | None = None
    slow_rate: int = MILLION

    def recording(self) -> Window | None:
        """Return an empty window; None where no rate is asked for."""
        if self.failure_rate is None and self.slow_call is None:
            return None
        return TimeWindow(self.span) if self.span else CountWindow(self.window)

    def wait(self, times: int, random: float) -> int:
        """Return how long to stay open after so many failed probes, for a random number from 0 to 1."""
        base = min(self.reset << min(times, 32), self.max_reset)
        return base + int(base * self.jitter * random) // MILLION


class Permit:
    """What lets a call run: settled once for each call that was let in by it."""

    __slots__ = ("began", "generation", "probe")

    def __init__(self, generation: int, began: int, probe: int = 0) -> None:
        self.generation = generation
        self.began = began
        self.probe = probe
        """Its number among the probes; 0 where it is none."""


class Refused(NamedTuple):
    """A call that may not run; `wait` is how long from now, in µs, the next might."""

    wait: int


@dataclass(slots=True)
class Closed:
    """All calls run; `in_row` have failed one after another.

    `permit` is for all of them, where nobody asks how long they take.
    """

    generation: int
    window: Window | None
    in_row: int = 0
    permit: Permit = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.permit = Permit(self.generation, 0)


@dataclass(slots=True)
class Open:
    """No call runs until `wait` µs after `since`; `times` probes in a row have failed."""

    generation: int
    since: int
    wait: int
    times: int = 0

    def left(self, now: int) -> int:
        """Return the µs that are left; a clock that was set back begins the wait again."""
        self.since = min(self.since, now)
        return self.since + self.wait - now


@dataclass(slots=True)
class HalfOpen:
    """A few calls run; `probes` are under way, each until its deadline, `passed` have succeeded."""

    generation: int
    times: int
    passed: int = 0
    count: int = 0
    probes: dict[int, int] = field(default_factory=dict)


State = Closed | Open | HalfOpen


class Circuit:
    """One circuit: where it stands, and how calls move it."""

    __slots__ = ("_random", "_rules", "_timed", "state")

    def __init__(self, rules: Rules, random: Callable[[], float]) -> None:
        self._rules = rules
        self._random = random
        self._timed = rules.slow_call is not None
        self.state: State = Closed(0, rules.recording())

    def __repr__(self) -> str:
        return f"<Circuit {self.state}>"

    def admit_closed(self) -> Permit | None:
        """Let a call run without a look at the clock; None where only `admit` can say."""
        state = self.state
        return state.permit if type(state) is Closed and not self._timed else None

    def settle_closed(self, permit: Permit) -> bool:
        """Learn, without a look at the clock, that a call has succeeded; False where only `settle` can."""
        state = self.state
        if type(state) is not Closed or state.window is not None or permit.generation != state.generation:
            return False
        state.in_row = 0
        return True

    def admit(self, now: int) -> Permit | Refused:
        """Let a call run, or not."""
        state = self.state
        if type(state) is Closed:
            return Permit(state.generation, now)
        if type(state) is Open:
            if (left := state.left(now)) > 0:
                return Refused(left)
            state = self.state = HalfOpen(state.generation + 1, state.times)
        assert type(state) is HalfOpen
        return self._probe(state, now)

    def settle(self, permit: Permit, ended: Ended, now: int) -> None:
        """Learn how a call ended; what an earlier generation granted changes nothing."""
        state = self.state
        if permit.generation != state.generation:
            return
        match state:
            case Closed():
                if ended != "ignored":
                    self._count(state, permit, now, failed=ended == "failure")
            case HalfOpen():
                state.probes.pop(permit.probe, None)
                if ended != "ignored":
                    self._learn(state, now, failed=ended == "failure" or self._slow(permit, now))
            case Open():
                pass
            case _:
                assert_never(state)

    def open(self, now: int, wait: int | None = None) -> None:
        """Open, for `wait` µs or as long as after a first failure."""
        wait = self._rules.wait(0, self._random()) if wait is None else wait
        self.state = Open(self.state.generation + 1, now, wait)

    def close(self) -> None:
        """Close, and begin to count anew."""
        self.state = Closed(self.state.generation + 1, self._rules.recording())

    def _probe(self, state: HalfOpen, now: int) -> Permit | Refused:
        if len(state.probes) >= self._rules.probes:
            state.probes = {each: due for each, due in state.probes.items() if 0 < due - now <= self._longest}
            if len(state.probes) >= self._rules.probes:
                return Refused(FULL)
        state.count += 1
        state.probes[state.count] = now + self._longest
        return Permit(state.generation, now, state.count)

    @property
    def _longest(self) -> int:
        return self._rules.probe_deadline

    def _slow(self, permit: Permit, now: int) -> bool:
        return self._rules.slow_call is not None and now - permit.began >= self._rules.slow_call

    def _count(self, state: Closed, permit: Permit, now: int, *, failed: bool) -> None:
        state.in_row = state.in_row + 1 if failed else 0
        if state.window is not None:
            state.window.record(now, failed=failed, slow=self._slow(permit, now))
            if self._too_many(state.window):
                return self.open(now)
        if failed and state.in_row == self._rules.fail_max:
            self.open(now)

    def _too_many(self, window: Window) -> bool:
        rules = self._rules
        if window.calls < rules.minimum:
            return False
        if rules.failure_rate is not None and window.failures * MILLION >= rules.failure_rate * window.calls:
            return True
        return rules.slow_call is not None and window.slow * MILLION >= rules.slow_rate * window.calls

    def _learn(self, state: HalfOpen, now: int, *, failed: bool) -> None:
        if failed:
            times = state.times + 1
            self.state = Open(state.generation + 1, now, self._rules.wait(times, self._random()), times)
            return
        state.passed += 1
        if state.passed >= self._rules.successes:
            self.close()
