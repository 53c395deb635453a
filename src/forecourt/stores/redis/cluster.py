"""A store that is a cluster: which primary serves a key's slot, and how that knowledge is kept fresh.

The map is read whole (`CLUSTER SLOTS`) at the start and whenever there is a sign that it is old: a MOVED, a passed
deadline, a lost connection, an attempt to connect that failed, READONLY, CLUSTERDOWN. One task reads it at a time, at
most ten times a second, on a connection of its own, because the wires may be what is in trouble. While a primary is
gone its wires try again every half second, and every failed attempt has the map read: a failover shows as soon as
some node knows of it.
"""

import asyncio
import binascii
import random
from collections.abc import Sequence
from functools import partial

from forecourt.stores.redis.commands import Lane, Reply, ReplyError, Unanswered
from forecourt.stores.redis.connection import LOST, REFUSED, ask_once, connect, reason
from forecourt.stores.redis.nodes import Node, Stray
from forecourt.stores.redis.terms import Terms
from forecourt.stores.redis.urls import Location, Place
from forecourt.stores.redis.wire import Wire

SLOTS = 16384
_PAUSE = 0.1
_STALE = frozenset({"READONLY", "CLUSTERDOWN", "MASTERDOWN"})


def key_slot(key: str | bytes) -> int:
    """Return a key's slot: CRC16 (XMODEM) of its hash tag, or of all of it (Redis Cluster specification)."""
    text = key.encode() if isinstance(key, str) else key
    _, opened, rest = text.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return binascii.crc_hqx(tag if opened and closed and tag else text, 0) % SLOTS


class Cluster:
    """Every question goes to the primary of its keys' slot; `slots` is a map known from before."""

    def __init__(self, location: Location, terms: Terms, slots: Sequence[Place | None] = ()) -> None:
        self._location = location
        self._terms = terms
        self._nodes: dict[Place, Node] = {}
        self._reason: str | None = None if slots else "no map of slots yet"
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._strays: list[Stray] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.slots: list[Place | None] = list(slots) or [None] * SLOTS
        self._adopt(self.slots)
        self._reading = self._read_soon()

    def slot_of(self, keys: Sequence[str | bytes]) -> int:
        """Return the slot of all keys; ValueError when they have several, any slot when there are none."""
        if not keys:
            return random.randrange(SLOTS)  # noqa: S311  # spreads load
        slot = key_slot(keys[0])
        if any(key_slot(key) != slot for key in keys[1:]):
            raise ValueError("on a cluster all keys of a script must share a slot: give them one {hash tag}")
        return slot

    def wire(self, slot: int, lane: Lane) -> Wire:
        """Return a wire to the slot's primary; Unanswered when nobody is known to serve it."""
        place = self.slots[slot]
        if place is None:
            self.troubled()
            raise Unanswered(self._reason or f"slot {slot} is served by no node", written=False)
        return self._nodes[place].wire(lane)

    def redirect(self, error: ReplyError, wire: Wire, slot: int) -> tuple[Wire, bool]:
        """Follow MOVED and ASK; otherwise ask whoever serves the slot by now."""
        if error.code in {"MOVED", "ASK"}:
            place = self._named(error.text.partition(" ")[2], wire)
            if error.code == "ASK":
                return self._node(place).wire(wire.lane), True
            self._node(place)
            self.slots[slot] = place
        if error.code != "TRYAGAIN":
            self.troubled()
        return self.wire(slot, wire.lane), False

    def trouble(self) -> str | None:
        """Return why there is no map, else what is wrong with the first node in trouble."""
        return self._reason or next(filter(None, (node.trouble() for node in self._nodes.values())), None)

    def troubled(self) -> None:
        """Have the map read, unless that is under way."""
        if not self._closed and self._reading.done():
            self._reading = self._read_soon()

    async def ready(self) -> None:
        """Return when the map was read, or could not be, and every wire has tried to connect once."""
        await asyncio.wait([self._reading])
        for node in tuple(self._nodes.values()):
            await node.ready()

    async def close(self) -> list[Stray]:
        """End all wires; return the undos not sent."""
        self._end()
        await asyncio.gather(*self._retiring)
        strays = await asyncio.gather(*(node.close() for node in self._nodes.values()))
        await asyncio.wait([self._reading])
        return [*self._strays, *(stray for some in strays for stray in some)]

    def abandon(self) -> list[Stray]:
        """Leave the event loop of the wires; return the undos not sent."""
        self._closed = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)
        return [stray for node in self._nodes.values() for stray in node.abandon()]

    def _end(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._reading.cancel()

    # The map.

    def _read_soon(self) -> asyncio.Task[None]:
        return self._loop.create_task(self._read(), name="forecourt store map")

    async def _read(self) -> None:
        await asyncio.sleep(self._due - self._loop.time())
        reasons = []
        for place in self._candidates():
            try:
                slots = await self._slots_by(place)
            except (*REFUSED, *LOST, ReplyError) as error:
                reasons.append(f"{place}: {reason(error)}")
                continue
            self._reason = None
            self._adopt(slots)
            break
        else:
            self._unread(f"no map of slots: {'; '.join(reasons)}")
        self._due = self._loop.time() + _PAUSE
        self._terms.on_change()

    def _unread(self, reason: str) -> None:
        """Go on with the map there is; without one there is no wire whose trouble would have it read."""
        if self._nodes:
            return
        self._reason = reason
        self._timer = self._loop.call_later(2 * _PAUSE, self.troubled)

    def _candidates(self) -> list[Place]:
        """Whom to ask for the map: nodes that serve, then nodes in trouble, then those the URL names."""
        known = list(self._nodes)
        random.shuffle(known)
        known.sort(key=lambda place: self._nodes[place].trouble() is not None)
        return [*known, *(place for place in self._location.places if place not in self._nodes)]

    async def _slots_by(self, asked: Place) -> list[Place | None]:
        """Return who serves each slot, according to one node."""
        reply = await ask_once(self._location, asked, self._terms.patience / 2, "CLUSTER", "SLOTS")
        slots: list[Place | None] = [None] * SLOTS
        for start, end, place in _ranges(reply, asked):
            slots[start : end + 1] = [place] * (end + 1 - start)
        return slots

    def _adopt(self, slots: list[Place | None]) -> None:
        self.slots = slots
        places = {place for place in slots if place is not None}
        for place in places:
            self._node(place)
        for place in self._nodes.keys() - places:
            retired = self._loop.create_task(self._retire(self._nodes.pop(place)))
            self._retiring.add(retired)
            retired.add_done_callback(self._retiring.discard)

    def _node(self, place: Place) -> Node:
        if place not in self._nodes:
            dial = partial(connect, self._location, place, self._terms.patience)
            self._nodes[place] = Node(str(place), dial, self._terms)
        return self._nodes[place]

    async def _retire(self, node: Node) -> None:
        """End the wires to a node that serves no slot any more; its undos go to those who do."""
        strays = await node.close()
        if self._closed:
            self._strays += strays
            return
        for lane, undo in strays:
            self._terms.on_stray(lane, undo)

    def _named(self, address: str, wire: Wire) -> Place:
        """Return the place that a redirection names; an empty host means the host that was asked."""
        host, _, port = address.rpartition(":")
        asked = next((place for place, node in self._nodes.items() if wire in node.wires), None)
        return _place(host.strip("[]"), int(port), asked or self._location.places[0])


def _place(host: str, port: int, asked: Place) -> Place:
    return Place(asked.host if host in {"", "?"} else host, port)


def _ranges(reply: Reply, asked: Place) -> list[tuple[int, int, Place]]:
    """Read CLUSTER SLOTS: [first slot, last slot, [host, port, …] of the primary, replicas …] of each range."""
    ranges = []
    for row in reply if isinstance(reply, list) else [reply]:
        match row:
            case [int(start), int(end), [bytes() | None as host, int(port), *_], *_]:
                ranges.append((start, end, _place((host or b"").decode(), port, asked)))
            case _:
                raise ConnectionError("unreadable CLUSTER SLOTS")
    return ranges
