"""Shared breakers: what one process learns all know within a second, at no command while calls pass."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from forecourt import CircuitBreaker, CircuitOpen, EndpointPolicy, JobConfig
from forecourt.breakers import Breaker, Breakers
from forecourt.core.breaker import Permit, Refused
from forecourt.errors import StoreDown
from forecourt.fleet import MEMORY, Fleet
from forecourt.principals import Keys
from forecourt.runtime import Runtime
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from forecourt.testing import FakeClock
from forecourt.types import SECOND
from tests.callers import settle_down
from tests.servers import Valkey

POLICY = CircuitBreaker(fail_max=2, reset_timeout=10, jitter=0, probe_timeout=5, shared=True, name="payments")


class Counted:
    """A store that counts, and that a test may take away: by an error, or by answers of a failure policy."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.asked: list[str] = []
        self.under_way = 0
        self.down: str = ""

    async def open(self) -> None:
        """Open."""
        await self.inner.open()

    async def close(self) -> None:
        """Close."""
        await self.inner.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Decide, unless it is down."""
        self.asked += [question.key.rpartition(":")[0].rpartition(":")[2] for question in questions]
        if self.down == "degraded":
            return [Answer("go", degraded=True) for _ in questions]
        self._fail()
        with self._on_the_way():
            return await self.inner.decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle, unless it is down."""
        self._fail()
        with self._on_the_way():
            await self.inner.settle(settlements)

    @contextmanager
    def _on_the_way(self) -> Iterator[None]:
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    def _fail(self) -> None:
        if self.down:
            raise StoreDown("it is down")


class Process:
    """One process of the service: its breaker, and its fleet on a store that others use as well."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = Counted(store)
        runtime = Runtime(JobConfig(), self.store, clock)
        self.breakers = Breakers({"payments": POLICY})
        self.breakers.bind(clock)
        self.breaker: Breaker = self.breakers.get("payments")
        self.fleet = Fleet(self.store, Keys("fc"), clock, runtime.settle, rand=lambda: 1.0)
        self.breakers.join(self.fleet)

    async def call(self, *, fails: bool = False) -> str:
        """Call what the breaker guards."""
        try:
            async with self.breaker:
                if fails:
                    raise RuntimeError("it failed")
        except CircuitOpen:
            return "refused"
        except RuntimeError:
            return "failed"
        return "passed"


class Service:
    """Some processes on one store and clock."""

    def __init__(self, number: int = 3) -> None:
        self.clock = FakeClock()
        store = MemoryStore(self.clock)
        self.processes = [Process(store, self.clock) for _ in range(number)]

    @property
    def states(self) -> list[str]:
        """Where the breakers stand."""
        return [process.breaker.state for process in self.processes]

    async def pass_(self, seconds: float) -> None:
        """Let time pass, by tenths."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            await settle_down()

    async def open(self) -> None:
        """Have all processes call, and the first one see it fail."""
        for process in self.processes:
            assert await process.call() == "passed"
        await settle_down()
        for _ in range(2):
            await self.processes[0].call(fails=True)
        await self.pass_(1)

    async def stop(self) -> None:
        """End the tasks."""
        for process in self.processes:
            await process.fleet.stop()


async def test_one_opens_and_all_are_open_within_a_second() -> None:
    """For as long as the first is; then one of them closes it for all."""
    service = Service()
    await service.open()
    assert service.states == ["open"] * 3
    assert [await process.call() for process in service.processes] == ["refused"] * 3
    await service.pass_(9.3)
    assert await service.processes[1].call() == "passed"
    await service.pass_(1)
    assert service.states == ["closed"] * 3
    await service.stop()


async def test_all_processes_together_probe_as_often_as_one() -> None:
    """While one probe is under way the others are refused; one that is gone frees its place."""
    service = Service()
    await service.open()
    await service.pass_(10)
    first, second, third = (process.breaker for process in service.processes)
    probe = await first.confirmed(first.admit())
    assert type(probe) is Permit
    for other in (second, third):
        assert await other.confirmed(other.admit()) == Refused(SECOND)
    await service.pass_(5.1)
    late = await second.confirmed(second.admit())
    assert type(late) is Permit
    second.settle(late, "ignored")
    await settle_down()
    assert type(await third.confirmed(third.admit())) is Permit
    await service.stop()


async def test_a_probe_that_fails_keeps_all_away_for_longer() -> None:
    """The others follow the longer wait, also those that could probe by now."""
    service = Service()
    await service.open()
    await service.pass_(10)
    assert await service.processes[2].call(fails=True) == "failed"
    await service.pass_(1)
    assert service.states == ["open"] * 3
    await service.pass_(17)
    assert [await process.call() for process in service.processes] == ["refused"] * 3
    await service.pass_(2.5)
    assert await service.processes[0].call() == "passed"
    await service.stop()


async def test_an_end_of_the_wait_is_no_end_of_the_outage() -> None:
    """Where nobody calls it stays open, and a process that starts then probes first."""
    service = Service()
    await service.open()
    await service.pass_(30)
    assert service.states == ["open"] * 3
    service.clock.advance(600)
    new = Process(service.processes[0].store.inner, service.clock)
    new.fleet.run()
    await settle_down()
    assert repr(new.breaker) == "<Breaker 'payments' open>"
    assert type(new.breaker.admit()) is Permit
    assert repr(new.breaker) == "<Breaker 'payments' half-open>"
    assert MEMORY > 600 * SECOND
    await new.fleet.stop()
    await service.stop()


async def test_an_operators_word_holds_for_all() -> None:
    """Open for as long as it says, and closed."""
    service = Service()
    for process in service.processes:
        await process.call()
    service.processes[0].breaker.open(60)
    await service.pass_(1)
    assert service.states == ["open"] * 3
    service.processes[1].breaker.close()
    await service.pass_(1)
    assert service.states == ["closed"] * 3
    await service.stop()


@pytest.mark.parametrize("how", ["error", "degraded"])
async def test_without_the_store_each_is_on_its_own(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """It opens, probes and closes by itself, and tells what it knows when the store is back; both are logged once."""
    service = Service(2)
    first, second = service.processes
    await first.call()
    await second.call()
    await service.pass_(1)
    with caplog.at_level(logging.INFO, "forecourt"):
        first.store.down = how
        await service.pass_(3)
        for _ in range(2):
            await first.call(fails=True)
        await service.pass_(3)
        assert service.states == ["open", "closed"]
        await service.pass_(7)
        assert await first.call(fails=True) == "failed"
        first.store.down = ""
        await service.pass_(1.5)
    assert service.states == ["open", "open"]
    told = [record.message for record in caplog.records if "shared breakers" in record.message]
    assert [line.partition(": ")[2] for line in told] == [
        "the store does not answer, so this process is on its own",
        "the store answers again",
    ]
    await service.stop()


async def test_a_cancelled_question_gives_the_probe_back() -> None:
    """The caller left while the store was asked: another may probe."""
    service = Service(1)
    await service.open()
    await service.pass_(10)
    process = service.processes[0]
    asked = asyncio.Event()

    async def never(questions: Sequence[Question]) -> list[Answer]:
        assert len(questions) == 1
        asked.set()
        return await asyncio.Future()

    decide, process.store.decide = process.store.decide, never  # type: ignore[method-assign]  # it stalls
    caller = asyncio.create_task(process.call())
    await asked.wait()
    caller.cancel()
    await asyncio.wait([caller])
    process.store.decide = decide  # type: ignore[method-assign]  # it answers again
    assert await process.call() == "passed"
    await service.stop()


async def test_what_is_not_shared_asks_nobody() -> None:
    """Neither a breaker without the word, nor one that is only a shadow."""
    breakers = Breakers({})
    fleet = Fleet(MemoryStore(FakeClock()), Keys("fc"), FakeClock(), lambda _told: None)
    breakers.join(fleet)
    assert breakers.of(CircuitBreaker(), "own").fleet is None
    assert breakers.of(CircuitBreaker(shared=True, mode="shadow"), "shadow").fleet is None
    assert breakers.of(CircuitBreaker(shared=True), "shared").fleet is fleet
    assert repr(fleet) == "<Fleet of shared>"
    await fleet.stop()
    assert JobConfig(default=EndpointPolicy(circuit_breaker=POLICY)).breaker("payments").policy.shared


async def test_a_breaker_that_another_config_forgets_is_shared_no_more() -> None:
    """What it had to tell is told to nobody, and the store is asked about it no more, until that is undone."""
    service = Service(2)
    first, second = service.processes
    await second.call()
    await settle_down()
    first.breaker.open(60)
    undo = first.breakers.adopt(Breakers({}), ["payments"])
    assert repr(first.fleet) == "<Fleet of no breakers>"
    first.fleet.run()
    await service.pass_(1)
    assert (second.breaker.state, first.store.asked) == ("closed", [])
    undo()
    first.breaker.open(60)
    await service.pass_(1)
    assert second.breaker.state == "open"
    await service.stop()


async def test_a_breaker_that_took_its_name_stays_shared() -> None:
    """The old one is let go late: the new one is asked about all the same."""
    service = Service(1)
    (process,) = service.processes
    old = process.breaker
    process.breakers.adopt(Breakers({"payments": POLICY}), ["payments"])
    new = process.breakers.get("payments")
    process.fleet.unwatch(old)
    assert new is not old
    assert repr(process.fleet) == "<Fleet of payments>"


async def test_what_is_learnt_while_the_others_are_told_is_told_next() -> None:
    """It closes while the store hears that it is open: all are closed a moment later."""
    service = Service(2)
    first = service.processes[0]
    settle, told = first.store.settle, list[str]()

    async def slow(settlements: Sequence[Settlement]) -> None:
        told.extend(each.kind for each in settlements)
        if len(told) == 1:
            first.breaker.close()
        await settle(settlements)

    first.store.settle = slow  # type: ignore[method-assign]  # it takes its time
    for process in service.processes:
        await process.call()
    await settle_down()
    first.breaker.open(60)
    await service.pass_(2)
    assert told == ["lease_renew", "lease_release"]
    assert service.states == ["closed"] * 2
    await service.stop()


async def heard(processes: Sequence[Process]) -> None:
    """Wait until nothing is on its way to the store or back, however long the server takes: the clock stands still."""
    late = asyncio.get_running_loop().time() + 10
    await settle_down()
    while any(process.store.under_way for process in processes):
        assert asyncio.get_running_loop().time() < late
        await asyncio.sleep(0.001)
        await settle_down()


async def test_no_command_for_a_call_while_closed(valkey: Valkey) -> None:
    """On a real server: a thousand calls, and no more questions than the task's own; two processes open within 1 s."""
    clock = FakeClock()
    stores = [RedisStore(Client(valkey.url, deadline=10)) for _ in range(2)]
    processes = [Process(store, clock) for store in stores]
    for store in stores:
        await store.open()
    first, second = processes
    await first.call()
    await second.call()
    await heard(processes)
    before, sent = list(first.store.asked), valkey.count("evalsha")
    for _ in range(1000):
        await first.call()
    assert first.store.asked == before == ["breaker-circuit"]
    assert valkey.count("evalsha") == sent
    for _ in range(2):
        await first.call(fails=True)
    for _ in range(20):
        clock.advance(0.05)
        await heard(processes)
    assert [process.breaker.state for process in processes] == ["open", "open"]
    for process in processes:
        await process.fleet.stop()
        await process.store.close()
