"""Single flight: callers of one process that want the same answer wait for one of them."""

import asyncio
from enum import Enum
from typing import NamedTuple

from forecourt.core.caching.entries import Entry
from forecourt.core.caching.keys import Selection
from forecourt.types import Clock


class Landing(Enum):
    """How a flight can end without an answer for others: nobody's (each for itself), or none yet (who is next?)."""

    APART = "apart"
    AGAIN = "again"


class Landed(NamedTuple):
    """An answer for those who selected the same; others must see for themselves."""

    entry: Entry
    selection: Selection


class Flight:
    """One caller's way to an answer; others follow it. `begun`: in µs, before its handler ran or the store was read."""

    __slots__ = ("_landed", "begun", "followers")

    def __init__(self, begun: int) -> None:
        self.begun = begun
        self._landed: asyncio.Future[Landed | Landing] = asyncio.get_running_loop().create_future()
        self.followers = 0

    def land(self, outcome: Landed | Landing) -> None:
        """Tell all who follow; only the first time counts."""
        if not self._landed.done():
            self._landed.set_result(outcome)

    async def follow(self, clock: Clock, seconds: float) -> Landed | Landing:
        """Wait for the landing; APART after so many seconds."""
        self.followers += 1
        late: asyncio.Task[None] = asyncio.get_running_loop().create_task(_nap(clock, seconds))
        try:
            waited: set[asyncio.Future[object]] = {self._landed, late}  # type: ignore[arg-type]  # a set is invariant
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
        return self._landed.result() if self._landed.done() else Landing.APART


async def _nap(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)


class Flights:
    """The flights under way in this process, by what they are for."""

    def __init__(self) -> None:
        self._flights: dict[object, Flight] = {}

    def get(self, spot: object) -> Flight | None:
        """Return the flight for this, if one is under way on the running loop."""
        flight = self._flights.get(spot)
        if flight is not None and flight._landed.get_loop() is not asyncio.get_running_loop():
            del self._flights[spot]
            return None
        return flight

    def begin(self, spot: object, now: int) -> Flight:
        """Begin one; a caller that holds the lead takes the place of one that only waits for it."""
        flight = self._flights[spot] = Flight(now)
        return flight

    def end(self, spot: object, flight: Flight) -> None:
        """Take it away; whoever still follows is told to see who is next."""
        flight.land(Landing.AGAIN)
        if self._flights.get(spot) is flight:
            del self._flights[spot]
