"""Trips are told: what was asked, how it ended, and that nothing else changes."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.routing import Route

from forecourt import EndpointPolicy, FixedWindow, JobConfig
from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.stores.contract import Answer, Question, Settlement
from forecourt.stores.memory import MemoryStore
from forecourt.stores.observed import ObservedStore, Trip, Trips
from forecourt.telemetry.prometheus import Families
from forecourt.testing import FakeClock
from tests.asgi import get
from tests.observing import samples, sdk
from tests.servers import Valkey
from tests.services import starlette, text

QUESTION = Question("fixed_window", "k", (1, 1_000_000, 1, 0))


class Failing(MemoryStore):
    """A store that fails as it is told."""

    error: BaseException | None = None

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Raise the error, or answer."""
        if self.error:
            raise self.error
        return await super().decide(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Raise the error, or take note."""
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "ok"),
        (StoreDown("gone"), "down"),
        (StoreOverloaded("full"), "overloaded"),
        (asyncio.CancelledError(), "failed"),
    ],
)
async def test_trips_are_told_however_they_end(error: BaseException | None, end: str) -> None:
    """Both kinds of trip, with their size and end; what the store raises goes on."""
    store, trips = Failing(FakeClock()), Trips()
    store.error = error
    told: list[Trip] = []
    observed = ObservedStore(store, trips)
    trips.listeners["test"] = told.append
    await observed.open()
    for trip in (observed.decide([QUESTION]), observed.settle([Settlement("lease_release", "k", ("a",))])):
        if error is None:
            await trip
        else:
            with pytest.raises(type(error)):
                await trip
    await observed.close()
    assert [(trip.operation, trip.end, trip.size) for trip in told] == [("decide", end, 1), ("settle", end, 1)]
    assert all(trip.took >= 0 and trip.began > 0 for trip in told)


async def test_with_nobody_listening_calls_go_on() -> None:
    """The same answers."""
    observed = ObservedStore(MemoryStore(FakeClock()), Trips())
    assert (await observed.decide([QUESTION]))[0].verdict == "go"
    await observed.settle([])


def test_metrics_know_when_the_store_is_down() -> None:
    """A trip that found it down says degraded, one that found it well says not; a settlement says neither."""
    families = Families("x", (1.0,))
    said = []
    for operation, end in (("decide", "down"), ("settle", "ok"), ("decide", "overloaded"), ("decide", "ok")):
        families.trip(Trip(operation, end, 0, 1000, 2))  # type: ignore[arg-type]  # literals in a loop
        said.append(families.registry.get_sample_value("x_store_degraded"))
    assert said == [1, 1, 1, 0]


@pytest.mark.valkey
async def test_trips_to_a_server_are_counted_and_have_spans(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trip a request, with its latency and its span inside the server's; stopped, answers are degraded."""
    policy = EndpointPolicy(rate_limit=FixedWindow(limit=100, window=60), logging="off")
    config = JobConfig(default=policy, store=valkey.url)
    app = starlette(config, Route("/", text, name="work"))
    with sdk(monkeypatch) as seen:
        assert (await get(app, "/")).status == 200
        (span,) = [span for span in seen.all() if span.name == "store decide"]
        assert span.parent is not None
        assert span.parent.span_id == seen.server().context.span_id
    counted = await samples(config, "forecourt_store_trip_seconds_count", "operation", "outcome")
    assert counted[("decide", "ok")] == 1
    valkey.stop()
    assert (await get(app, "/")).status == 200
    assert await samples(config, "forecourt_store_degraded") == {(): 1}
    decisions = await samples(config, "forecourt_decisions_total", "outcome")
    assert decisions == {("allowed",): 1, ("degraded",): 1}
