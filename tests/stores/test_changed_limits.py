"""A limit that is changed in the config, or has two versions in use while processes are replaced, on both stores.

What was counted under other numbers is read by each strategy's own rule (the top of its file in `core`); here random
histories of changes must never admit more than that rule allows.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import pytest

from forecourt import Debounce, FixedWindow, SlidingWindow, Throttle, TokenBucket
from forecourt.policies import RateLimit
from forecourt.stores.contract import Question, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.core.bench import examples
from tests.servers import Valkey

on_both = pytest.mark.parametrize("store", ["memory", pytest.param("valkey", marks=pytest.mark.valkey)], indirect=True)


class Admitted(NamedTuple):
    """A call that passed: when, and the arguments of the limit that let it pass."""

    at: int
    args: tuple[int, ...]


Rule = Callable[[Sequence[Admitted], Sequence[tuple[int, ...]], int], bool]
"""(calls that passed one after the other, the arguments in use, changes so far) → whether so many may have."""


def _stretch(calls: Sequence[Admitted]) -> int:
    return calls[-1].at - calls[0].at


def bucket(calls: Sequence[Admitted], used: Sequence[tuple[int, ...]], changes: int) -> bool:
    """The part of a bucket that is taken: one whole and what is refilled, by the quickest of them."""
    spans = [Fraction(capacity * period, parts) for capacity, period, parts, *_ in used]
    taken = sum(Fraction(1, call.args[0]) for call in calls)
    return taken <= 1 + (_stretch(calls) + 2 * (changes + 1)) / min(spans)


def counter(calls: Sequence[Admitted], used: Sequence[tuple[int, ...]], _: int) -> bool:
    """Twice the larger limit in any stretch of the shorter window."""
    return _stretch(calls) >= min(args[1] for args in used) or len(calls) <= 2 * max(args[0] for args in used)


def log(calls: Sequence[Admitted], used: Sequence[tuple[int, ...]], _: int) -> bool:
    """The larger limit in any stretch of the shorter window, exactly."""
    return _stretch(calls) >= min(args[1] for args in used) or len(calls) <= max(args[0] for args in used)


def queue(calls: Sequence[Admitted], used: Sequence[tuple[int, ...]], changes: int) -> bool:
    """The part of the queue that is taken: the whole of it and what has moved on, by the quickest of them."""
    gaps = [Fraction(period, parts) for period, parts, *_ in used]
    spans = [args[2] + gap for args, gap in zip(used, gaps, strict=True)]
    least = min(gap / span for gap, span in zip(gaps, spans, strict=True))
    return len(calls) * least <= 1 + (_stretch(calls) + 2 * (changes + 1)) / min(spans)


def quiet(calls: Sequence[Admitted], used: Sequence[tuple[int, ...]], _: int) -> bool:
    """Calls that pass are the shorter interval apart."""
    return all(later.at - call.at >= min(args[0] for args in used) for call, later in pairwise(calls))


CHANGES: dict[str, tuple[Rule, tuple[RateLimit, ...]]] = {
    "bucket": (
        bucket,
        (
            TokenBucket(max_tokens=5, refill_rate=1),
            TokenBucket(max_tokens=20, refill_rate=0.3),
            TokenBucket(max_tokens=2, refill_rate=7),
        ),
    ),
    "fixed": (
        counter,
        (FixedWindow(limit=5, window=60), FixedWindow(limit=9, window=3600), FixedWindow(limit=2, window=1)),
    ),
    "sliding": (
        counter,
        (SlidingWindow(limit=5, window=60), SlidingWindow(limit=9, window=3600), SlidingWindow(limit=2, window=1)),
    ),
    "log": (
        log,
        (
            SlidingWindow(limit=5, window=60, exact=True),
            SlidingWindow(limit=9, window=3600, exact=True),
            SlidingWindow(limit=2, window=1, exact=True),
        ),
    ),
    "throttle": (queue, (Throttle(rate=2), Throttle(rate=0.1, max_delay=20), Throttle(rate=3, max_delay=1))),
    "debounce": (quiet, (Debounce(interval=2), Debounce(interval=30, max_wait=45), Debounce(interval=5))),
}


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still until a test lets it pass."""
    return FakeClock()


@pytest.fixture
async def store(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Store]:
    """An empty store of each kind, open, that decides by the clock."""
    if request.param == "memory":
        yield MemoryStore(clock)
        return
    server: Valkey = request.getfixturevalue("valkey")
    served = RedisStore(Client(server.url, deadline=5), clock=clock)
    await served.open()
    yield served
    await served.close()


@on_both
@pytest.mark.parametrize("strategy", CHANGES)
async def test_a_change_admits_no_more_than_its_rule(strategy: str, store: Store, clock: FakeClock) -> None:
    """Two or three versions of a limit in turn, in random histories: every run of calls that passed obeys the rule."""
    rule, limits = CHANGES[strategy]
    dice = random.Random(strategy)
    for number in range(examples(6)):
        chosen = dice.sample([limit.operation(None) for limit in limits], dice.choice((2, 2, 3)))
        used = [args for _, args in chosen]
        passed: list[Admitted] = []
        refused = changes = 0
        kind, args = chosen[0]
        for _ in range(120):
            if dice.random() < 0.15:
                changes, (kind, args) = changes + 1, dice.choice(chosen)
            clock.advance(dice.choice((0, 0, 0, 0, 0, 0.000_001, 0.3, 1, dice.random() * dice.choice((4, 60, 3600)))))
            (answer,) = await store.decide([Question(kind, f"{strategy}:{number}", args)])
            if answer.verdict == "go":
                passed.append(Admitted(clock.now(), args))
                assert all(rule(passed[first:], used, changes) for first in range(len(passed)))
            else:
                refused += 1
        assert passed
        assert refused


LOWERED: dict[str, tuple[RateLimit, RateLimit, int, int]] = {
    "bucket": (TokenBucket(max_tokens=100, refill_rate=1), TokenBucket(max_tokens=10, refill_rate=0.1), 60, 4),
    "fixed": (FixedWindow(limit=100, window=60), FixedWindow(limit=10, window=60), 7, 3),
    "fixed, spent": (FixedWindow(limit=100, window=60), FixedWindow(limit=10, window=60), 60, 0),
    "fixed, shorter": (FixedWindow(limit=10, window=3600), FixedWindow(limit=10, window=60), 7, 3),
    "sliding": (SlidingWindow(limit=100, window=60), SlidingWindow(limit=10, window=60), 7, 3),
    "sliding, spent": (SlidingWindow(limit=100, window=60), SlidingWindow(limit=10, window=60), 60, 0),
    "sliding, longer": (SlidingWindow(limit=10, window=60), SlidingWindow(limit=10, window=3600), 7, 3),
    "log": (
        SlidingWindow(limit=100, window=60, exact=True),
        SlidingWindow(limit=10, window=60, exact=True),
        7,
        3,
    ),
    "log, shorter": (
        SlidingWindow(limit=10, window=3600, exact=True),
        SlidingWindow(limit=10, window=60, exact=True),
        7,
        3,
    ),
    "throttle": (Throttle(rate=1, max_delay=9), Throttle(rate=0.1, max_delay=90), 5, 5),
    "debounce": (Debounce(interval=60), Debounce(interval=2), 1, 0),
}
"""The limit, what it is changed to, calls before, and how many of a flood pass at once after."""


@on_both
@pytest.mark.parametrize("change", LOWERED)
async def test_what_was_spent_before_a_change_stays_spent(change: str, store: Store) -> None:
    """A flood after the change passes as far as its rule says, and no further; the key is the same one."""
    before, after, calls, passes = LOWERED[change]
    (kind, args), (new_kind, new_args) = before.operation(None), after.operation(None)
    assert kind == new_kind
    for _ in range(calls):
        (answer,) = await store.decide([Question(kind, change, args)])
        assert answer.verdict == "go"
    answers = [(await store.decide([Question(kind, change, new_args)]))[0] for _ in range(2 * calls + 20)]
    assert [answer.verdict for answer in answers].count("go") == passes


@on_both
async def test_a_sliding_window_made_shorter_may_forget_once(store: Store, clock: FakeClock) -> None:
    """Hits late in a long window count as made at its start: past two short ones, they are forgotten, but only once."""
    long, short = (60, 3600 * SECOND, 1, 0), (10, 60 * SECOND, 1, 0)
    await store.decide([Question("sliding_window", "k", long)])
    clock.advance(130)
    for _ in range(50):
        await store.decide([Question("sliding_window", "k", long)])
    answers = [(await store.decide([Question("sliding_window", "k", short)]))[0] for _ in range(30)]
    answers += [(await store.decide([Question("sliding_window", "k", args)]))[0] for args in (short, short, short)]
    assert [answer.verdict for answer in answers].count("go") == 10
