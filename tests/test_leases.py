"""The heartbeat: what is held is renewed in time, for as long as it is kept, in few calls."""

import asyncio
from collections.abc import Sequence

import pytest

from forecourt.errors import StoreDown
from forecourt.leases import Heartbeat, Kept, together
from forecourt.stores.contract import Settlement
from forecourt.testing import FakeClock
from forecourt.types import SECOND

LEASE = Kept("lease_renew", "k", 15 * SECOND)


class Told:
    """Notes what a store is told, and when; `down` makes it raise, `hangs` makes it wait."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.began = clock.now()
        self.calls: list[tuple[float, list[Settlement]]] = []
        self.down = False
        self.hangs: asyncio.Event | None = None

    async def __call__(self, settlements: Sequence[Settlement]) -> None:
        """Take note."""
        self.calls.append(((self.clock.now() - self.began) / SECOND, list(settlements)))
        if self.hangs:
            await self.hangs.wait()
        if self.down:
            raise StoreDown("gone")

    @property
    def times(self) -> list[float]:
        """Return the seconds after which it was told."""
        return [seconds for seconds, _ in self.calls]


async def settle_down() -> None:
    """Let the tasks run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def advance(clock: FakeClock, seconds: float, step: float = 1) -> None:
    """Let time pass in steps, and the tasks run after each."""
    await settle_down()
    for _ in range(round(seconds / step)):
        clock.advance(step)
        await settle_down()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def told(clock: FakeClock) -> Told:
    """A store that takes note."""
    return Told(clock)


@pytest.fixture
def heart(told: Told, clock: FakeClock) -> Heartbeat:
    """A heartbeat that tells it."""
    return Heartbeat(told, clock)


async def test_it_beats_three_times_a_lease(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """A lease of 15 s is renewed every 5 s, whatever is taken meanwhile, all of a key in one settlement."""
    heart.keep(LEASE, ["a"])
    await advance(clock, 7)
    heart.keep(LEASE, ["b", "c"])
    await advance(clock, 9)
    assert told.times == [5, 10, 15]
    assert told.calls[0][1] == [Settlement("lease_renew", "k", (15 * SECOND, "a"))]
    assert told.calls[1][1] == [Settlement("lease_renew", "k", (15 * SECOND, "a b c"))]
    heart.stop()


async def test_what_is_dropped_is_renewed_no_more(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """With the last one the task ends by itself; dropping twice, or what was never kept, is no matter."""
    heart.keep(LEASE, ["a", "b"])
    heart.drop(LEASE, ["a", "a", "x"])
    heart.drop(Kept("lease_renew", "other", 1), ["a"])
    assert repr(heart) == "<Heartbeat of 1 on 1 keys>"
    await advance(clock, 6)
    assert told.calls[0][1][0].args == (15 * SECOND, "b")
    heart.drop(LEASE, ["b"])
    await advance(clock, 20)
    assert told.times == [5]
    assert len(asyncio.all_tasks()) == 1


async def test_it_begins_again(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """After a pause the next lease is renewed a third of its time after it was taken."""
    heart.keep(LEASE, ["a"])
    heart.drop(LEASE, ["a"])
    await advance(clock, 20)
    heart.keep(LEASE, ["b"])
    await advance(clock, 6)
    assert told.times == [25]
    heart.stop()


async def test_a_shorter_lease_is_not_kept_waiting(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """A hold of a minute and a lease of three seconds each have their own rhythm."""
    heart.keep(Kept("credits_hold", "k", 60 * SECOND), ["a"])
    await advance(clock, 1)
    heart.keep(Kept("lease_renew", "k", 3 * SECOND), ["a"])
    await advance(clock, 21)
    holds = [seconds for seconds, renewals in told.calls if renewals[0].kind == "credits_hold"]
    leases = [seconds for seconds, renewals in told.calls if renewals[0].kind == "lease_renew"]
    assert holds == [20]
    assert leases == list(range(2, 23))
    heart.stop()


async def test_one_taken_during_a_renewal_is_renewed_in_time(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """A renewal under way is not given up for it."""
    heart.keep(LEASE, ["a"])
    told.hangs = asyncio.Event()
    await advance(clock, 5)
    heart.keep(Kept("lease_renew", "short", SECOND), ["b"])
    await settle_down()
    assert told.times == [5]
    told.hangs.set()
    await advance(clock, 1, step=0.25)
    assert len(told.calls) > 1
    assert told.calls[1][1][0].key == "short"
    heart.stop()


async def test_what_this_process_granted_is_renewed_there(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """Leases of the failure policy are told apart from the store's, in calls of their own."""
    heart.keep(LEASE, ["a"])
    heart.keep(LEASE._replace(local=True), ["b"])
    await advance(clock, 5)
    assert [[renewal.local for renewal in renewals] for _, renewals in told.calls] == [[False], [True]]
    heart.stop()


async def test_a_failed_renewal_is_tried_again(
    heart: Heartbeat, told: Told, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The store may be gone for a beat; a line in the log says so."""
    heart.keep(LEASE, ["a"])
    told.down = True
    await advance(clock, 5)
    told.down = False
    await advance(clock, 5)
    assert told.times == [5, 10]
    assert "1 leases not renewed: gone" in caplog.text
    heart.stop()


async def test_a_clock_set_back_stops_no_renewal(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """An hour back: the next beat comes after a third of the lease all the same."""
    heart.keep(LEASE, ["a"])
    await settle_down()
    clock.advance(-3600)
    await advance(clock, 11)
    assert told.times == [5 - 3600, 10 - 3600]
    heart.stop()


async def test_a_clock_set_back_before_the_first_beat_stops_none(
    heart: Heartbeat, told: Told, clock: FakeClock
) -> None:
    """However far away the beat that was due seems by then."""
    heart.keep(LEASE, ["a"])
    clock.advance(-3600)
    await advance(clock, 6)
    assert told.times == [5 - 3600]
    heart.stop()


async def test_a_clock_set_forward_renews_at_once(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """An hour ahead: all leases seem to have expired, and are taken again with the next beat."""
    heart.keep(LEASE, ["a"])
    await settle_down()
    clock.advance(3600)
    await settle_down()
    assert told.times == [3600]
    heart.stop()


def test_another_loop_gets_a_task_of_its_own(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """What was kept on a loop that is closed is renewed from the one that runs."""

    async def keep(own: str, seconds: float) -> None:
        heart.keep(LEASE, [own])
        await advance(clock, seconds)

    for own, seconds in (("a", 1), ("b", 4)):
        with asyncio.Runner() as runner:
            runner.run(keep(own, seconds))
    assert told.times == [5]
    assert told.calls[0][1][0].args == (15 * SECOND, "a b")
    heart.stop()


async def test_stopping_ends_the_task(heart: Heartbeat, told: Told, clock: FakeClock) -> None:
    """A stack that closes leaves no task behind; stopping what does not beat is no matter."""
    heart.stop()
    heart.keep(LEASE, ["a"])
    await settle_down()
    heart.stop()
    await advance(clock, 10)
    assert told.calls == []
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("keys", [0, 1, 31, 32, 33, 500, 1000])
def test_calls_are_of_few_lengths(keys: int) -> None:
    """However many keys are held, a store makes six scripts at most for their renewals; none is left out."""
    renewals = [Settlement("lease_renew", str(number), ()) for number in range(keys)]
    parts = together(renewals)
    assert [each for part in parts for each in part] == renewals
    assert {len(part) for part in parts} <= {1, 2, 4, 8, 16, 32}
    assert len(parts) <= keys // 32 + 5
