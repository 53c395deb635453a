"""A store whose trips are told to whoever observes: how long each took, how much was asked, and how it ended.

It stands right in front of the store that goes over the network, below the wrappers that answer without a trip, so
that what it tells of are trips. With nobody listening it hands calls on as they are.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.stores.contract import Answer, Question, Settlement, Store

TripEnd = Literal["ok", "down", "overloaded", "failed"]

Result = TypeVar("Result")


class Trip(NamedTuple):
    """One trip: `decide` or `settle`, how it ended, begun when (ns since the epoch), for how many ns, and its size."""

    operation: Literal["decide", "settle"]
    end: TripEnd
    began: int
    took: int
    size: int


class Trips:
    """Who is told of trips, in the task of the call that made them."""

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[Trip], object]] = {}
        """By the observer's name: one of each, however many apps share the store."""

    def tell(self, trip: Trip) -> None:
        """Tell all of them."""
        for listener in self.listeners.values():
            listener(trip)


class ObservedStore:
    """Tells `trips` of each call to `store`."""

    def __init__(self, store: Store, trips: Trips) -> None:
        self._store = store
        self._trips = trips

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask the store."""
        if not self._trips.listeners:
            return await self._store.decide(questions)
        return await self._timed("decide", self._store.decide(questions), len(questions))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the store."""
        if not self._trips.listeners:
            return await self._store.settle(settlements)
        await self._timed("settle", self._store.settle(settlements), len(settlements))
        return None

    async def _timed(self, operation: Literal["decide", "settle"], trip: Awaitable[Result], size: int) -> Result:
        began, started = time.time_ns(), time.perf_counter_ns()
        end: TripEnd = "failed"
        try:
            result = await trip
            end = "ok"
        except StoreDown:
            end = "down"
            raise
        except StoreOverloaded:
            end = "overloaded"
            raise
        finally:
            self._trips.tell(Trip(operation, end, began, time.perf_counter_ns() - started, size))
        return result
