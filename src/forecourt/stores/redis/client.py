"""The multiplexed client of Redis and Valkey: what the store asks its server with.

One connection per lane and node carries everybody's questions (`wire`); a route chooses the wire (`single`,
`cluster`). Here are the public face, the retries of what a server could not serve for the moment, and what happens to
undos that were refused. A client belongs to one event loop at a time.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

from forecourt.errors import StoreError
from forecourt.stores.redis.cluster import Cluster, key_slot
from forecourt.stores.redis.commands import (
    Command,
    Item,
    Lane,
    Reply,
    ReplyError,
    Script,
    Unanswered,
    Undo,
    pack,
)
from forecourt.stores.redis.nodes import Route, Stray
from forecourt.stores.redis.single import Single
from forecourt.stores.redis.terms import Terms
from forecourt.stores.redis.urls import parse
from forecourt.stores.redis.wire import Wire

__all__ = ["Client", "Item", "Lane", "Reply", "ReplyError", "Script", "Unanswered", "Undo"]

_REDIRECTIONS = frozenset({"MOVED", "ASK"})
_PASSING = frozenset({"TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN"}) | _REDIRECTIONS
"""Error replies that say nothing was done and may be gone in a moment."""

_MOST_REDIRECTIONS = 3  # at once; more of them are a cluster that has not agreed yet
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
_PERSISTENCE = 10.0
_OPENING = 1.0

_STATEFUL = {"AUTH", "HELLO", "SELECT", "RESET", "QUIT", "MONITOR", "SYNC", "PSYNC", "ASKING", "READONLY", "READWRITE"}
_TRANSACTIONS = {"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"}
_SUBSCRIPTIONS = {f"{kind}SUBSCRIBE" for kind in ("", "P", "S", "UN", "PUN", "SUN")}
_BLOCKING = {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
_UNSHAREABLE = frozenset(_STATEFUL | _TRANSACTIONS | _SUBSCRIPTIONS | _BLOCKING)


class Client:
    """Runs scripts and commands on the store that `url` names; ConfigError when it names none.

    `deadline` is how many seconds an answer may take from its write (`bodies_deadline`: on the lane for bodies);
    `connections` how many there are per lane and node; `max_waiting` how many questions may wait for their write on
    one of them; `flush` how many leave in one write.

    `state` is "down" while some questions fail at once, "up" otherwise, until proven otherwise. `on_state` is called
    by the loop with each new state and its reason. `on_unknown` is called with an undo that was given up: what it
    would have taken back stays until its own lease ends.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline: float = 0.05,
        bodies_deadline: float | None = None,
        connections: int = 1,
        max_waiting: int = 10_000,
        flush: int = 256,
    ) -> None:
        self.state: Literal["up", "down"] = "down"
        self.on_state: Callable[[str, str], None] | None = None
        self.on_unknown: Callable[[object], None] | None = None
        bodies = deadline if bodies_deadline is None else bodies_deadline
        if min(deadline, bodies) <= 0 or min(connections, max_waiting, flush) < 1:
            raise ValueError("deadlines must be above 0; connections, max_waiting and flush at least 1")
        self._location = parse(url)
        patience = self._location.settings.get("socket_connect_timeout", max(1.0, 20 * deadline))
        self._deadlines: dict[Lane, float] = {"decisions": deadline, "bodies": bodies}
        self._terms = Terms(
            known={},
            deadlines=self._deadlines,
            patience=float(patience),
            connections=connections,
            max_waiting=max_waiting,
            flush=flush,
            on_change=self._changed,
            on_trouble=self._troubled,
            on_orphan=self._orphan,
            on_stray=self._stray,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._route: Route | None = None
        self._persisting: dict[asyncio.Task[None], Stray] = {}

    def __repr__(self) -> str:
        places = ",".join(map(str, self._location.places))
        return f"<Client {self._location.form} {places}: {self.health or 'up'}>"

    @property
    def clustered(self) -> bool:
        """True when keys of different slots cannot go into one script."""
        return self._location.form == "cluster"

    @property
    def health(self) -> str | None:
        """Why some questions are not answered, in words without secrets; None when all are."""
        return "not open" if self._route is None else self._route.trouble()

    def slot(self, key: str | bytes) -> int:
        """Return the key's slot: keys of one slot may go into one script. On one primary that is all keys."""
        return key_slot(key) if self.clustered else 0

    async def open(self) -> None:
        """Connect on the running loop: returns once that was tried, a second later at most, and never fails."""
        if self._loop is asyncio.get_running_loop():
            return
        route = self._begin()
        with suppress(TimeoutError):
            async with asyncio.timeout(_OPENING):
                await route.ready()

    async def close(self) -> None:
        """Let what was asked be answered, for a deadline at most, then end every connection and task."""
        route, loop = self._route, self._loop
        self._route = self._loop = None
        self.state = "down"
        if route is None:
            return
        strays = self._stop_persisting()
        strays += await route.close() if loop is asyncio.get_running_loop() else route.abandon()
        await asyncio.sleep(0)  # tasks that were cancelled end
        for _, undo in strays:
            self._unknown(undo)

    async def run(
        self,
        script: Script,
        keys: Sequence[str | bytes],
        args: Sequence[Item],
        *,
        lane: Lane = "decisions",
        undo: Undo | None = None,
    ) -> Reply:
        """Run a script once and return its answer.

        Raises StoreDown (Unanswered, ReplyError) or StoreOverloaded; ValueError when keys need several slots of a
        cluster. `undo` takes back what the script may grant to a caller who does not see the answer.
        """
        slot = self._here().slot_of(keys)
        return await self.send(script.pack(keys, args), slot, script, undo, lane=lane)

    async def call(self, *command: Item, lane: Lane = "decisions", key: str | bytes | None = None) -> Reply:
        """Send a plain command and return its answer; raises what `run` raises.

        `key` says which node of a cluster serves it; by default the word after the command. ValueError when the
        command would block or change the connection that everybody shares.
        """
        _check_shareable(command)
        if key is None and len(command) > 1 and isinstance(command[1], str | bytes):
            key = command[1]
        route = self._here()
        return await self.send(pack(*command), route.slot_of(() if key is None else (key,)), lane=lane)

    # Asking.

    async def send(
        self,
        packed: bytes,
        slot: int,
        script: Script | None = None,
        undo: Undo | None = None,
        *,
        lane: Lane = "decisions",
    ) -> Reply:
        """Send a packed command to whoever serves the slot, and return its answer; raises as `run` does."""
        route = self._route
        if route is None or self._loop is not asyncio.get_running_loop():
            route = self._here()
        wire = route.wire(slot, lane)
        command = wire.send(packed, script, undo)
        try:
            return await command.future
        except asyncio.CancelledError:
            wire.forsake(command)
            raise
        except ReplyError as error:
            if error.code not in _PASSING:
                raise
            refused = error
        return await self._again(route, slot, wire, command, refused, seconds=self._deadlines[lane])

    async def _again(
        self, route: Route, slot: int, wire: Wire, command: Command, error: ReplyError, *, seconds: float
    ) -> Reply:
        """Follow redirections, and ask again what could not be served for the moment, for so many seconds."""
        loop = asyncio.get_running_loop()
        until, pause, redirections = loop.time() + seconds, _FIRST_PAUSE, 0
        while True:
            wire, asking = route.redirect(error, wire, slot)
            redirections += error.code in _REDIRECTIONS
            if error.code not in _REDIRECTIONS or redirections > _MOST_REDIRECTIONS:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            try:
                return await _answer(wire, wire.send(command.packed, command.script, command.undo, asking=asking))
            except ReplyError as refused:
                if refused.code not in _PASSING or loop.time() >= until:
                    raise
                error = refused

    # Loops and states.

    def _here(self) -> Route:
        """Return the route of the running loop."""
        if self._route is None:
            raise Unanswered("the store is not open", written=False)
        if self._loop is not asyncio.get_running_loop():
            return self._begin()
        return self._route

    def _begin(self) -> Route:
        """Connect on the running loop, and leave the one before."""
        old = self._route
        strays = [] if old is None else [*self._stop_persisting(), *old.abandon()]
        self._loop = asyncio.get_running_loop()
        self.state = "up"
        if self.clustered:
            slots = old.slots if isinstance(old, Cluster) else ()
            self._route = Cluster(self._location, self._terms, slots)
        else:
            self._route = Single(self._location, self._terms)
        for lane, undo in strays:
            self._stray(lane, undo)
        return self._route

    def _changed(self) -> None:
        reason = self.health
        state: Literal["up", "down"] = "up" if reason is None else "down"
        if self._loop is None or state == self.state:
            return
        self.state = state
        if self.on_state is not None:
            self._loop.call_soon(self.on_state, state, reason or "connected")

    def _troubled(self) -> None:
        if self._route is not None:
            self._route.troubled()

    # Undos without a wire.

    def _stray(self, lane: Lane, undo: Undo) -> None:
        """Give an undo to the wire that serves its keys by now."""
        try:
            if self._route is None:
                raise Unanswered("the store is not open", written=False)
            self._route.wire(self._route.slot_of(undo.keys), lane).undo(undo)
        except Unanswered:
            self._unknown(undo)

    def _orphan(self, lane: Lane, undo: Undo, error: ReplyError | None) -> None:
        """Ask again later for an undo that the server refused for the moment; give up any other."""
        if self._loop is None or self._route is None or error is None or error.code not in _PASSING:
            self._unknown(undo)
            return
        task = self._loop.create_task(self._persist(self._route, lane, undo, error), name="forecourt store undo")
        self._persisting[task] = (lane, undo)
        task.add_done_callback(lambda done: self._persisting.pop(done, None))

    async def _persist(self, route: Route, lane: Lane, undo: Undo, error: ReplyError) -> None:
        packed = undo.script.pack(undo.keys, undo.args)
        command = Command(packed, asyncio.get_running_loop().create_future(), 0, undo.script)
        slot = route.slot_of(undo.keys)
        try:
            await self._again(route, slot, route.wire(slot, lane), command, error, seconds=_PERSISTENCE)
        except ReplyError:
            self._unknown(undo)
        except StoreError:
            self._stray(lane, undo)

    def _stop_persisting(self) -> list[Stray]:
        """End the tasks that still try, on whichever loop they are; return what they tried."""
        strays = list(self._persisting.values())
        for task in self._persisting:
            loop = task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        self._persisting.clear()
        return strays

    def _unknown(self, undo: Undo) -> None:
        if self.on_unknown is not None:
            self.on_unknown(undo)


async def _answer(wire: Wire, command: Command) -> Reply:
    try:
        return await command.future
    except asyncio.CancelledError:
        wire.forsake(command)
        raise


def _check_shareable(command: Sequence[Item]) -> None:
    """Refuse commands that would block or change a connection which everybody shares."""
    words = [word.decode("latin-1") if isinstance(word, bytes) else str(word) for word in command[:2]]
    name = words[0].upper() if words else ""
    client_reply = name == "CLIENT" and words[1:] and words[1].upper() == "REPLY"
    blocking = name in {"XREAD", "XREADGROUP"} and any(
        isinstance(word, str | bytes) and word.upper() in {"BLOCK", b"BLOCK"} for word in command
    )
    if not name or name in _UNSHAREABLE or client_reply or blocking:
        raise ValueError(f"{name or 'an empty command'} needs a connection of its own")
