"""One server of the store and the wires to it, and what a route is: the choice of a server for a question."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from forecourt.stores.redis.commands import LANES, Lane, ReplyError, Undo
from forecourt.stores.redis.terms import Dial, Terms
from forecourt.stores.redis.wire import Wire

Stray = tuple[Lane, Undo]
"""An undo that its wire did not send, and the lane it was for."""


class Route(Protocol):
    """Which wire a question takes."""

    def slot_of(self, keys: Sequence[str | bytes]) -> int:
        """Return the slot of all these keys; ValueError when they have several."""
        ...

    def wire(self, slot: int, lane: Lane) -> Wire:
        """Return the wire that serves a slot; Unanswered when none does."""
        ...

    def redirect(self, error: ReplyError, wire: Wire, slot: int) -> tuple[Wire, bool]:
        """Return the wire to ask after an error reply from `wire`, and whether ASKING goes before."""
        ...

    def trouble(self) -> str | None:
        """Return why some questions are not answered, or None."""
        ...

    def troubled(self) -> None:
        """Hear that a deadline passed, or that a connection was lost or not to be had."""
        ...

    async def ready(self) -> None:
        """Return when every wire has tried to connect once."""
        ...

    async def close(self) -> list[Stray]:
        """End all wires once what was asked is answered or late; return the undos not sent."""
        ...

    def abandon(self) -> list[Stray]:
        """Leave the event loop of the wires; return the undos not sent."""
        ...


class Node:
    """The wires to one server, so many in each lane."""

    def __init__(self, name: str, dial: Dial, terms: Terms) -> None:
        self._lanes = {
            lane: tuple(Wire(f"{name} ({lane})", lane, dial, terms) for _ in range(terms.connections)) for lane in LANES
        }
        self.wires = tuple(wire for wires in self._lanes.values() for wire in wires)

    def wire(self, lane: Lane) -> Wire:
        """Return the wire of this lane that has least to do."""
        wires = self._lanes[lane]
        return wires[0] if len(wires) == 1 else min(wires, key=Wire.load)

    def trouble(self) -> str | None:
        """Return what is wrong with the first wire that is down, or None."""
        return next((f"{wire.name}: {wire.down}" for wire in self.wires if wire.down is not None), None)

    async def ready(self) -> None:
        """Return when every wire has tried to connect once."""
        for wire in self.wires:
            await wire.tried.wait()

    async def close(self) -> list[Stray]:
        """End all wires; return the undos not sent."""
        undos = await asyncio.gather(*(wire.close() for wire in self.wires))
        return [(wire.lane, undo) for wire, some in zip(self.wires, undos, strict=True) for undo in some]

    def abandon(self) -> list[Stray]:
        """Leave the event loop of the wires; return the undos not sent."""
        return [(wire.lane, undo) for wire in self.wires for undo in wire.abandon()]
