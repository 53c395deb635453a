"""The primary of a service that sentinels watch: who it is, asked at every connection and once a second.

Once a second, because a primary that sentinels replace in order goes on taking writes for some ten seconds until they
demote it, and all of those are lost.
"""

import asyncio
from collections.abc import Callable

from forecourt.stores.redis.commands import ReplyError, pack
from forecourt.stores.redis.connection import LOST, REFUSED, Connection, ask, ask_once, connect, hang_up, reason
from forecourt.stores.redis.urls import Location, Place

_ROLE = pack(b"ROLE")
_INTERVAL = 1.0


class Sentinels:
    """Connects to the primary of a service, as whichever sentinel answers first names it."""

    def __init__(self, location: Location, patience: float) -> None:
        self._location = location
        self._patience = patience
        self._places = list(location.places)
        self._named: set[Place] = set()

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
        self._named.add(place)
        return connection

    async def watch(self, moved: Callable[[str], None]) -> None:
        """Call `moved(why)` whenever another primary is named than was connected to; runs until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                place = await self._locate()
            except ConnectionError:
                continue
            if self._named - {place}:
                self._named.clear()
                moved(f"the primary of {self._location.service} is {place} now")

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
