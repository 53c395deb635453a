"""A store that is one primary: the one the URL names, or the one that sentinels name."""

import asyncio
from collections.abc import Sequence
from functools import partial

from forecourt.stores.redis.commands import Lane, ReplyError
from forecourt.stores.redis.connection import connect
from forecourt.stores.redis.nodes import Node, Stray
from forecourt.stores.redis.sentinel import Sentinels
from forecourt.stores.redis.terms import Terms
from forecourt.stores.redis.urls import Location
from forecourt.stores.redis.wire import Wire


class Single:
    """Every question goes to the one primary, whatever its keys: all keys share slot 0."""

    def __init__(self, location: Location, terms: Terms) -> None:
        self._watching: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        if location.form == "sentinel":
            sentinels = Sentinels(location, terms.patience)
            self._node = Node(location.service, sentinels.dial, terms)
            self._watching = self._loop.create_task(sentinels.watch(self._moved), name="forecourt store sentinels")
        else:
            (place,) = location.places
            self._node = Node(str(place), partial(connect, location, place, terms.patience), terms)
        self.trouble = self._node.trouble
        self.ready = self._node.ready

    def slot_of(self, keys: Sequence[str | bytes]) -> int:
        """Return 0."""
        return 0

    def wire(self, slot: int, lane: Lane) -> Wire:
        """Return a wire of this lane."""
        return self._node.wire(lane)

    def redirect(self, error: ReplyError, wire: Wire, slot: int) -> tuple[Wire, bool]:
        """Ask again; a primary that became a replica is looked up anew, by name or by the sentinels."""
        if error.code == "READONLY":
            wire.drop(str(error))
        return self._node.wire(wire.lane), False

    def troubled(self) -> None:
        """Nothing to do: wires connect again by themselves."""

    async def close(self) -> list[Stray]:
        """End all wires; return the undos not sent."""
        strays = await self._node.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        return strays

    def abandon(self) -> list[Stray]:
        """Leave the event loop of the wires; return the undos not sent."""
        if self._watching is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._watching.cancel)
        return self._node.abandon()

    def _moved(self, why: str) -> None:
        for wire in self._node.wires:
            wire.drop(why)
