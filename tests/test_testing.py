"""The fakes that forecourt gives to its users' tests do what they say."""

import asyncio

from forecourt.testing import FakeClock
from forecourt.types import SECOND, Clock

START = 1_700_000_000_000_000


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_time_passes_only_by_advance() -> None:
    """The clock stands still, goes on and back by what it is told, to the microsecond."""
    clock: Clock = FakeClock()
    assert clock.now() == START
    assert clock.now() == START
    fake = FakeClock(5)
    fake.advance(1.5)
    assert fake.now() == 5 + 1_500_000
    fake.advance(-0.000001)
    assert fake.now() == 4 + 1_500_000
    assert repr(fake) == "<FakeClock 1500004, 0 sleeping>"


def test_a_microsecond_is_exact_over_decades() -> None:
    """Seconds given as microseconds over a million come back as that many microseconds."""
    for step in (1, 3, 999_999, 86_400 * SECOND + 1, 31 * 365 * 86_400 * SECOND + 7):
        clock = FakeClock(0)
        clock.advance(step / SECOND)
        assert clock.now() == step


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """A sleeper wakes when enough time has passed in all, the earlier one first, and not before."""
    clock = FakeClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("late", 3.0), ("early", 1.0), ("early too", 1.0)):
            tasks.create_task(sleep(name, seconds))
        await settled()
        clock.advance(0.999999)
        await settled()
        assert woken == []
        clock.advance(0.000001)
        await settled()
        assert woken == ["early", "early too"]
        clock.advance(2)
    assert woken == ["early", "early too", "late"]


async def test_a_clock_set_back_neither_wakes_nor_delays() -> None:
    """Sleep is measured by the time that passed, whatever the clock was set to."""
    clock = FakeClock()
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(clock.sleep(1))
        await settled()
        clock.advance(-3600)
        await settled()
        assert not sleeper.done()
        clock.advance(1)
    assert sleeper.done()


async def test_a_sleep_of_nothing_returns_at_once() -> None:
    """Zero, less, and what rounds to no microsecond need no advance."""
    clock = FakeClock()
    await clock.sleep(0)
    await clock.sleep(0.0000001)
    await clock.sleep(-1)


async def test_a_cancelled_sleeper_is_gone() -> None:
    """Cancelling a sleeper harms nobody else."""
    clock = FakeClock()
    async with asyncio.TaskGroup() as tasks:
        cancelled = tasks.create_task(clock.sleep(1))
        other = tasks.create_task(clock.sleep(1))
        await settled()
        cancelled.cancel()
        clock.advance(1)
    assert cancelled.cancelled()
    assert other.done()
