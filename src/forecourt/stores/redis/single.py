"""A store that is one primary: the one the URL names, or the one that sentinels name at every connection."""

from collections.abc import Sequence
from functools import partial

from forecourt.stores.redis.commands import Lane, ReplyError, pack
from forecourt.stores.redis.connection import LOST, REFUSED, Connection, ask, ask_once, connect, hang_up, reason
from forecourt.stores.redis.nodes import Node
from forecourt.stores.redis.terms import Terms
from forecourt.stores.redis.urls import Location, Place
from forecourt.stores.redis.wire import Wire

_ROLE = pack(b"ROLE")


class Single:
    """Every question goes to the one primary, whatever its keys: all keys share slot 0."""

    def __init__(self, location: Location, terms: Terms) -> None:
        if location.form == "sentinel":
            self._node = Node(location.service, Sentinels(location, terms.patience).dial, terms)
        else:
            (place,) = location.places
            self._node = Node(str(place), partial(connect, location, place, terms.patience), terms)
        self.trouble = self._node.trouble
        self.ready = self._node.ready
        self.close = self._node.close
        self.abandon = self._node.abandon

    def slot(self, key: str | bytes) -> int:
        """Return 0."""
        return 0

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


class Sentinels:
    """Connects to the primary of a service, as whichever sentinel answers first names it."""

    def __init__(self, location: Location, patience: float) -> None:
        self._location = location
        self._patience = patience
        self._places = list(location.places)

    async def dial(self) -> Connection:
        """Connect to the primary; ConnectionError when nobody names one, or it is none."""
        place = await self._locate()
        connection = await connect(self._location, place, self._patience)
        try:
            (role,) = await ask(connection, _ROLE)
            if not isinstance(role, list) or role[0] != b"master":
                raise ConnectionError(f"{place} is not a primary")
        except BaseException:
            await hang_up(connection)
            raise
        return connection

    async def _locate(self) -> Place:
        """Ask the sentinels in turn; the one that answered is asked first from then on."""
        reasons = []
        for sentinel in tuple(self._places):
            try:
                place = await self._asked(sentinel)
            except (*REFUSED, *LOST, ReplyError) as error:
                reasons.append(f"{sentinel}: {reason(error)}")
                continue
            self._places.remove(sentinel)
            self._places.insert(0, sentinel)
            return place
        raise ConnectionError(f"no sentinel names {self._location.service!r}: {'; '.join(reasons)}")

    async def _asked(self, sentinel: Place) -> Place:
        # So that the others are still asked within one attempt when this one stands still.
        patience = self._patience / (len(self._places) + 1)
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._location.service)
        match await ask_once(self._location, sentinel, patience, *command, sentinel=True):
            case [bytes(host), bytes(port)]:
                return Place(host.decode(), int(port))
            case _:
                raise ConnectionError(f"it knows no service {self._location.service!r}")
