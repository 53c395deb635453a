"""The cache of several processes over one store: trips, leads, the guarded tier, invalidation, and the store gone."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request
from starlette.responses import Response

from forecourt import Cache, EndpointPolicy, FixedWindow, Throttle
from forecourt.core.cache import OTHER_NAMES
from forecourt.stores.contract import Answer as Decided
from forecourt.stores.contract import Question
from forecourt.stores.lanes import LanedStore
from forecourt.stores.memory import MemoryStore
from forecourt.testing import FakeClock
from tests.asgi import Answer
from tests.callers import settle_down
from tests.layers.processes import Processes
from tests.layers.records import Records


def said(answer: Answer) -> str:
    """Return what the cache said."""
    return answer.headers["cache-status"]


async def test_trips() -> None:
    """A miss costs two trips, one before and one after; a hit in another process one, and then none."""
    both = Processes()
    assert said(await both.one.get()) == "forecourt; fwd=miss; stored"
    await settle_down()
    assert both.store.trips() == ["cache_look", "cache_fill"]
    assert said(await both.one.get()).startswith("forecourt; hit")
    assert both.store.trips() == []
    assert said(await both.two.get()).startswith("forecourt; hit")
    assert said(await both.two.get()).startswith("forecourt; hit")
    assert both.store.trips() == ["cache_look"]
    assert both.runs == 1


async def test_look_ups_ride_along() -> None:
    """With a limit above, both are asked at once; a call that the limit refuses gives up its look-up."""
    both = Processes(EndpointPolicy(cache=Cache(ttl=60), rate_limit=FixedWindow(limit=1, window=60)))
    await both.one.get()
    await settle_down()
    assert both.store.trips() == ["cache_look", "cache_fill"]
    assert (await both.one.get("/records/2")).status == 429
    await settle_down()
    assert both.store.trips() == []


async def test_bodies_and_fields_come_back_from_the_store() -> None:
    """Bytes, repeated fields, status and age, also where the body was compressed."""
    body = b"a body that is long enough to be compressed " * 100 + bytes(range(256))

    def answer(_: Request, __: int) -> Response:
        response = Response(body, 203, {"age": "7"}, media_type="text/plain")
        response.headers.append("link", "a")
        response.headers.append("link", "b")
        return response

    both = Processes(answer=answer)
    first = await both.one.get()
    await settle_down()
    both.clock.advance(2)
    second = await both.two.get()
    assert (second.status, second.body, second.headers["age"]) == (203, first.body, "9")
    fields = [field for field in second.starts[0]["headers"] if field[0] == b"link"]
    assert fields == [(b"link", b"a"), (b"link", b"b")]
    assert len(str(both.store.store._entries)) < 20_000  # type: ignore[attr-defined]  # what the memory store has


async def test_one_runs_for_all_processes() -> None:
    """Whoever takes the lead runs; the others ask again until it is there."""
    both = Processes()
    both.one.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(20) for records in (both.one, both.two)]
    await both.pass_by(0.2)
    assert both.runs == 1
    both.one.go_on.set()
    await both.pass_by(0.2)
    assert {answer.body for answer in await asyncio.gather(*calls)} == {b"run 1"}
    assert both.runs == 1


async def test_a_long_run_keeps_its_lead() -> None:
    """It is renewed while the handler works; who waits runs out of patience after five seconds, and no sooner."""
    both = Processes()
    both.one.go_on.clear()
    both.two.go_on.clear()
    first = asyncio.create_task(both.one.get())
    await settle_down()
    other = asyncio.create_task(both.two.get())
    await both.pass_by(4.9)
    assert both.runs == 1
    await both.pass_by(0.3)
    assert both.runs == 2
    both.one.go_on.set()
    both.two.go_on.set()
    await both.pass_by(0.1)
    await asyncio.gather(first, other)


async def test_a_process_that_died_is_succeeded() -> None:
    """Nobody renews its lead: within three seconds another runs, once."""
    both = Processes()
    both.one.go_on.clear()
    first = asyncio.create_task(both.one.get())
    await settle_down()
    both.one.app._runtime.heartbeat.stop()
    calls = [asyncio.create_task(both.two.get()) for _ in range(5)]
    await both.pass_by(2.8)
    assert both.runs == 1
    await both.pass_by(0.4)
    assert both.runs == 2
    assert {answer.body for answer in await asyncio.gather(*calls)} == {b"run 1"}
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_nobody_waits_across_processes_for_what_is_not_kept() -> None:
    """One finds out; the others are told by the store."""
    both = Processes(answer=lambda _, run: Response(f"run {run}", headers={"cache-control": "no-store"}))
    await both.one.get()
    await settle_down()
    both.two.go_on.clear()
    calls = [asyncio.create_task(both.two.get()) for _ in range(10)]
    await settle_down()
    assert both.two.runs == 10
    both.two.go_on.set()
    await asyncio.gather(*calls)


async def test_a_call_that_never_reaches_the_cache_gives_its_lead_back() -> None:
    """It took the lead, waited for its turn above, and was cancelled there: the next one leads at once."""
    both = Processes(EndpointPolicy(cache=Cache(ttl=60), rate_limit=Throttle(rate=1, max_delay=9)))
    await both.one.get("/records/2")
    call = asyncio.create_task(both.one.get())
    await settle_down()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await settle_down()
    assert said(await both.two.get()) == "forecourt; fwd=miss; stored"


async def test_no_other_process_serves_what_was_invalid_50_ms_ago() -> None:
    """The log is read every 25 ms; what was invalidated meanwhile is not served."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    await both.pass_by(0.1)
    await both.one.config.cache.invalidate("record:1")
    both.clock.advance(0.05)
    await both.two.get()
    assert both.runs == 2


async def test_a_tier_whose_log_is_cut_off_is_silent() -> None:
    """50 ms after the last read the store is asked, although the entry is there."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    await both.pass_by(0.1)
    both.store.trips()
    await both.two.get()
    assert both.store.trips() == []
    both.store.deaf = True
    await both.pass_by(0.1)
    both.store.trips()
    assert said(await both.two.get()) == "forecourt; fwd=miss; stored"
    both.store.deaf = False
    await both.one.config.cache.invalidate("record:1")
    await both.pass_by(0.1)
    await both.two.get()
    assert both.two.runs == 2


@pytest.mark.parametrize("deaf", [True, False])
async def test_who_joins_a_long_run_gets_nothing_that_was_invalid_before(deaf: bool) -> None:
    """Where the log cannot be read nobody knows of it: one who came 50 ms after the run began has its own answer."""
    both = Processes()
    await both.one.get("/records/2")
    both.two.go_on.clear()
    calls = [asyncio.create_task(both.two.get())]
    await settle_down()
    both.store.deaf = deaf
    await both.one.config.cache.invalidate("record:1")
    await both.pass_by(0.05)
    calls.append(asyncio.create_task(both.two.get()))
    await settle_down()
    both.two.go_on.set()
    await both.pass_by(0.1)
    assert [answer.body for answer in await asyncio.gather(*calls)] == [b"run 1", b"run 2"]


async def test_who_joins_a_run_at_once_needs_no_log() -> None:
    """What was invalid 50 ms before was so before the handler ran: with the store gone one run is still enough."""
    both = Processes()
    both.store.down = True
    both.two.go_on.clear()
    calls = [asyncio.create_task(both.two.get())]
    await both.pass_by(0.025)
    calls += [asyncio.create_task(both.two.get()) for _ in range(10)]
    await both.pass_by(0.2)
    late = [asyncio.create_task(both.two.get()) for _ in range(10)]
    await settle_down()
    both.two.go_on.set()
    both.two.go_on.clear()
    await settle_down()
    both.two.go_on.set()
    assert {answer.body for answer in await asyncio.gather(*calls)} == {b"run 1"}
    assert {answer.body for answer in await asyncio.gather(*late)} == {b"run 2"}


async def test_records_that_are_missing_empty_the_tier() -> None:
    """A log that was lost, or ran over, may have said anything."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    await both.pass_by(0.1)
    await both.one.config.cache.invalidate("record:1")
    del both.store.store._entries["fc:{cache}:log"]  # type: ignore[attr-defined]  # the memory store's
    both.store.store._ring.remove("fc:{cache}:log")  # type: ignore[attr-defined]
    await both.pass_by(0.1)
    await both.two.get()
    assert both.runs == 2


async def test_fills_that_met_an_invalidation_are_invalid_in_the_store() -> None:
    """The stamps are those read before the handler ran."""
    both = Processes()
    await both.two.get("/records/2")
    both.one.go_on.clear()
    early = asyncio.create_task(both.one.get())
    await settle_down()
    await both.two.config.cache.invalidate("record:1")
    both.one.go_on.set()
    assert (await early).body == b"run 1"
    await settle_down()
    both.two._answer = lambda _, __: Response("new")
    assert (await both.two.get()).body == b"new"


async def test_a_soft_purge_is_seen_by_others() -> None:
    """It is stale there too, and refreshed by one."""
    both = Processes()
    await both.one.get()
    await settle_down()
    await both.one.config.cache.invalidate("record:1", soft=True)
    stale = await both.two.get()
    assert (stale.body, both.two.runs) == (b"run 1", 0)
    await both.pass_by(0.1)
    assert both.runs == 2
    both.store.trips()


async def test_stale_answers_are_refreshed_by_one_process() -> None:
    """Both have it stale; one takes the lead in the background, the other finds what came of it."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    await both.pass_by(61, step=1)
    stale = [await both.one.get(), await both.two.get()]
    assert [answer.body for answer in stale] == [b"run 1", b"run 1"]
    await both.pass_by(0.1)
    assert both.runs == 2
    assert said(await both.one.get()).startswith("forecourt; hit; ttl=59")


async def test_who_takes_what_is_stale_leads_nobody() -> None:
    """The look-up gave the lead with the stale answer; it goes back, and the next one leads at once."""
    both = Processes(EndpointPolicy(cache=Cache(ttl=60, stale_if_error=60)))
    await both.one.get()
    await both.pass_by(70, step=1)
    assert (await both.two.get("/records/1", (b"cache-control", b"max-stale"))).body == b"run 1"
    await settle_down()
    assert said(await both.one.get()) == "forecourt; fwd=stale; stored"


async def test_a_changed_selection_is_learned() -> None:
    """Another process does not know yet on what the answer varies: it is told, and looks again."""
    both = Processes(answer=lambda _, run: Response(f"run {run}", headers={"vary": "accept"}))
    html = (b"accept", b"text/html")
    await both.one.get("/records/1", html)
    await settle_down()
    both.store.trips()
    assert said(await both.two.get("/records/1", html)).startswith("forecourt; hit")
    assert both.store.trips() == ["cache_look", "cache_look"]
    assert said(await both.two.get("/records/1")) == "forecourt; fwd=miss; stored"
    assert both.runs == 2


async def test_a_dead_store_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers run, nothing is a 5xx, nothing is told to the store, and the log has one line."""
    both = Processes()
    both.store.down = True
    answers = [await both.one.get() for _ in range(3)]
    await settle_down()
    assert {answer.status for answer in answers} == {200}
    assert caplog.text.count("the cache's store does not answer") == 1
    assert set(both.store.trips()) == {"cache_look"}
    both.store.down = False
    await both.pass_by(0.1)
    await both.one.get()
    assert said(await both.two.get()).startswith("forecourt; ")


async def test_an_invalidation_is_queued_while_the_store_is_down() -> None:
    """It is told as soon as it can be; this process serves nothing older meanwhile, also when the store is back."""
    both = Processes()
    await both.one.get()
    await both.two.get()
    both.store.down = True
    await both.one.config.cache.invalidate("record:1")
    both.store.down = False
    assert (await both.one.get()).body == b"run 2"
    await both.pass_by(1)
    await both.two.get()
    assert both.two.runs == 1


class Fickle(MemoryStore):
    """Says of so many looks that the answers differ by another field each time, of the last that they do not differ."""

    def __init__(self, clock: FakeClock, most: int) -> None:
        super().__init__(clock)
        self.looks = 0
        self._most = most

    async def decide(self, questions: Sequence[Question]) -> list[Decided]:
        """Answer; of a look that is not to be believed the store takes no note."""
        looks = [place for place, each in enumerate(questions) if each.kind == "cache_look"]
        self.looks += len(looks)
        if not looks or self.looks > self._most:
            return await super().decide(questions)
        names = b"x-%d" % self.looks if self.looks < self._most else b""
        odd = Decided("go", (OTHER_NAMES, 0, 0, 0, names, b"", b""), granted=True)
        answers = await super().decide([each for each in questions if each.kind != "cache_look"])
        return [*answers[: looks[0]], odd, *answers[looks[0] :]]


def fickle(most: int) -> tuple[Fickle, Records, Records]:
    """Build two processes over such a store."""
    clock = FakeClock()
    store = Fickle(clock, most)
    policy = EndpointPolicy(cache=Cache(ttl=60))
    one, two = (Records(policy, clock=clock, store=LanedStore(MemoryStore(clock), store)) for _ in range(2))
    return store, one, two


async def test_a_store_that_never_says_the_same_fields_twice_is_a_miss() -> None:
    """By which fields answers differ is asked for a few times only, then the handler runs."""
    store, records, _ = fickle(100)
    assert ((await records.get()).body, store.looks) == (b"run 1", 5)


async def test_a_lead_that_only_the_last_look_was_given_is_kept() -> None:
    """As any other, for as long as the handler runs: nobody else runs it meanwhile."""
    store, one, two = fickle(4)
    one.go_on.clear()
    first = asyncio.create_task(one.get())
    await settle_down()
    assert (one.runs, store.looks) == (1, 5)
    for _ in range(400):
        one.clock.advance(0.025)
        await settle_down()
    second = asyncio.create_task(two.get())
    await settle_down()
    assert two.runs == 0
    one.go_on.set()
    assert (await first).body == b"run 1"
    for _ in range(8):
        one.clock.advance(0.025)
        await settle_down()
    assert ((await second).body, two.runs) == (b"run 1", 0)
