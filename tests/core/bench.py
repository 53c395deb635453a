"""A bench for operations: one key's states and a time, so that a test sees a single decision and can try both ways.

Limits here are pure functions with their state beside them; nothing of a store is needed to drive them.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from hypothesis import strategies as st

from forecourt.core import plans
from forecourt.core.operations import Arg, State, Verdict, Write, operation

START = 1_700_000_000_000_000
EXAMPLES = float(os.environ.get("FORECOURT_EXAMPLES", "1"))
"""How many times more (or fewer) examples the property tests try than in the default run."""

assert plans.LIMITS  # importing it registers every operation


def examples(number: int) -> int:
    """Return how many examples a property test runs that runs `number` by default."""
    return max(1, round(number * EXAMPLES))


class Standing(NamedTuple):
    """An answer by name; `rest` is what a strategy adds to the four values of every limit."""

    verdict: Verdict
    remaining: int
    retry: int
    reset: int
    ticket: int
    rest: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the limit let the call pass, shadow or not."""
        return self.retry == 0

    @property
    def tickets(self) -> tuple[int, ...]:
        """What giving back takes: a throttle's ticket is two numbers."""
        return (self.ticket, *self.rest[:1])


@dataclass
class Bench:
    """One key of one kind at a time; `step` may be negative."""

    kind: str
    now: int = START
    kept: Write | None = None
    written: int = field(default=0, compare=False)

    def ask(self, *args: Arg, group_goes: bool = True) -> Standing:
        """Decide and keep what is to be kept; the rest of its group may refuse."""
        outcome = operation(self.kind).compute((self.state,), self.now, args)
        goes = outcome.verdict == "go" and group_goes
        self._keep(outcome.writes if goes else outcome.marks)
        remaining, retry, reset, ticket, *rest = cast("tuple[int, ...]", outcome.values)
        return Standing(outcome.verdict, remaining, retry, reset, ticket, tuple(rest))

    def back(self, *args: Arg) -> None:
        """Give back."""
        outcome = operation(f"{self.kind}_back").compute((self.state,), self.now, args)
        assert outcome.verdict == "go"
        assert outcome.values == ()
        self._keep(outcome.writes)

    @property
    def state(self) -> State | None:
        """What is known now: nothing once it has expired."""
        return self.kept.state if self.kept is not None and self.kept.expires > self.now else None

    def later(self, microseconds: int) -> "Bench":
        """Return a copy at another time."""
        return replace(self, now=self.now + microseconds)

    def of(self, kind: str) -> "Bench":
        """Return a copy that asks another kind of question about the same key."""
        return replace(self, kind=kind)

    def _keep(self, writes: tuple[Write | None, ...]) -> None:
        for write in writes:
            if write is not None:
                self.kept = write
                self.written += 1


class Limit(NamedTuple):
    """One strategy's arguments without cost and shadow, and the longest anything of it lasts in µs."""

    kind: str
    parameters: tuple[int, ...]
    span: int

    def args(self, cost: int = 1, shadow: int = 0) -> tuple[int, ...]:
        """Return the arguments of a call; a debounce knows no cost."""
        if self.kind == "debounce":
            return (*self.parameters, shadow)
        return (*self.parameters, cost, shadow)

    def back(self, cost: int, tickets: tuple[int, ...]) -> tuple[int, ...]:
        """Return the arguments of giving a call back."""
        return (*self.parameters, cost, *tickets)


def _bucket(capacity: int, period: int, parts: int) -> Limit:
    return Limit("token_bucket", (capacity, period, parts), -(-capacity * period // parts))


def _throttle(period: int, parts: int, max_delay: int) -> Limit:
    return Limit("throttle", (period, parts, max_delay), max_delay - (-period // parts))


def _small(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


def _durations(longest: int) -> st.SearchStrategy[int]:
    """Return strategies of durations in µs: tiny, human and long ones."""
    return st.one_of(_small(1, 50), _small(1, 10_000_000), st.sampled_from([1_000_000, 60_000_000]), _small(1, longest))


DAY = 86_400_000_000

PARAMETERS: dict[str, st.SearchStrategy[Limit]] = {
    "token_bucket": st.builds(
        _bucket, st.one_of(_small(1, 6), _small(1, 1000)), _durations(DAY), st.one_of(st.just(1), _small(1, 1000))
    ),
    "fixed_window": st.builds(
        lambda limit, window: Limit("fixed_window", (limit, window), window), _small(1, 12), _durations(DAY)
    ),
    "sliding_window": st.builds(
        lambda limit, window: Limit("sliding_window", (limit, window), 2 * window),
        st.one_of(_small(1, 12), _small(1, 30_000)),
        _durations(DAY),
    ),
    "sliding_log": st.builds(
        lambda limit, window: Limit("sliding_log", (limit, window), window), _small(1, 12), _durations(DAY)
    ),
    "throttle": st.builds(
        _throttle, _durations(DAY), st.one_of(st.just(1), _small(1, 1000)), st.one_of(st.just(0), _durations(DAY))
    ),
    "debounce": st.builds(
        lambda interval, max_wait: Limit("debounce", (interval, max_wait), interval),
        _durations(DAY),
        st.one_of(st.just(0), _durations(DAY)),
    ),
}
"""Arguments that a config may hold, by strategy."""

COUNTED = ("token_bucket", "fixed_window", "sliding_window", "sliding_log")
"""The strategies with a number of units that calls of different costs take."""

GIVING_BACK = (*COUNTED, "throttle")
LEADING = (*GIVING_BACK, "debounce")


class Move(NamedTuple):
    """One step of a history: how time passes, and what is asked."""

    jump: int
    share: int
    cost: int
    shadow: bool
    back: bool
    change: bool


def moves(steps: int, *, plain: bool = False) -> st.SearchStrategy[list[Move]]:
    """Return histories of so many steps, each drawn from four bytes so that many are cheap.

    In `plain` ones nothing is given back and nothing asked in shadow.
    """
    drawn = st.binary(min_size=4 * steps, max_size=4 * steps).map(_moves)
    return drawn.map(lambda steps: [step._replace(shadow=False, back=False) for step in steps]) if plain else drawn


def _moves(drawn: bytes) -> list[Move]:
    def decoded() -> Iterator[Move]:
        for at in range(0, len(drawn), 4):
            jump, share, cost, flags = drawn[at : at + 4]
            yield Move(jump % 16, share, cost % 6, flags % 8 == 0, flags % 8 == 1, flags >= 240)

    return list(decoded())


def passing(move: Move, span: int, last: Standing | None) -> int:
    """Return the µs that pass before a step: none, few, many, until just before or after a promise, or back."""
    if move.jump < 2:
        return 0
    if move.jump < 4:
        return move.share
    if move.jump < 7:
        return span * move.share // 128
    if move.jump < 8:
        return 3 * span + move.share
    if move.jump < 10 and last is not None:
        return max(0, last.retry - (move.jump - 8))
    if move.jump < 12 and last is not None:
        return max(0, last.reset - (move.jump - 10))
    if move.jump == 12:
        return -span * move.share // 64
    if move.jump == 13:
        return -move.share
    return span * move.share // 1024
