"""One multiplexed connection: commands of many callers leave together, replies are matched in their order.

**Order.** A server answers a connection's commands one after the other, so a reply needs no name: the oldest written
command is the one it answers. Therefore nothing but this file may write to the connection, and a command that nobody
waits for any more still takes its reply off the queue.

**Flushes.** Whatever is asked during one turn of the event loop leaves in one write, `flush` commands at most. At
most twice as many are unanswered at a time: the rest waits here, where waiting is *our* load. Without that window a
flood would pile up in the server, and a deadline could not tell a dead store from a busy process.

**Deadlines** are counted in ticks (`ticks`), by one timer per connection, so that a loop that lags never counts
against the store. A command's ticks count from its write. Before that, on a live connection, they count for overload;
without one, for a dead store.

**The breaker.** `down` says why questions fail at once. A passed deadline sets it, and the late reply of that very
command clears it: commands are answered in order, so no other probe would be answered sooner. A failed attempt to
connect sets it, a connection clears it. A connection that owes a reply for twenty deadlines, at least a second, is
dropped.

**Fate.** Never written: kept for the next connection, within its deadline. Written and not answered, whether the
deadline passed, the caller left or the connection was lost: never sent again; its undo is sent when a late reply says
that something was granted, or first thing on the next connection.
"""

import asyncio
from collections import deque
from functools import partial
from itertools import takewhile

from forecourt.errors import StoreDown, StoreOverloaded
from forecourt.stores.redis.commands import Command, Lane, Reply, ReplyError, Script, Unanswered, Undo, pack, settle
from forecourt.stores.redis.connection import (
    PING,
    Connection,
    backoff,
    greet,
    reason,
)
from forecourt.stores.redis.line import Line
from forecourt.stores.redis.terms import Dial, Terms
from forecourt.stores.redis.ticks import PER_DEADLINE, Ticks

MOST_UNDOS = 10_000
_MOST_BYTES = 256 * 1024  # in one write
_MOST_RESENT = 3
_STEADY = 1.0  # seconds a connection must last before the next loss counts as the first

_ASKING = pack(b"ASKING")


class Wire:
    """One connection of one lane to one node, and the commands waiting for it; it connects by itself.

    `dial` opens the connection. `down` says why questions fail at once; None while they do not. `tried` is set once the
    first attempt to connect has ended.
    """

    def __init__(self, name: str, lane: Lane, dial: Dial, terms: Terms) -> None:
        self.name = name
        self.lane = lane
        self.down: str | None = None
        self.tried = asyncio.Event()
        self._dial = dial
        self._terms = terms
        self._known = terms.known
        self._max_waiting = terms.max_waiting
        self._most = terms.flush
        self._window = 2 * terms.flush
        deadline = self._deadline = terms.deadlines[lane]
        self._late_by = f"within {deadline * 1000:g} ms"
        self._ticks = Ticks(deadline, self._tick)
        self._stall = round(max(20 * deadline, 1.0) / self._ticks.step)
        self._loop = asyncio.get_running_loop()
        self._urgent: deque[Command] = deque()
        self._waiting: deque[Command] = deque()
        self._written: deque[Command] = deque()
        self._undos: deque[Undo] = deque()
        self._loads: dict[bytes, asyncio.Future[Reply]] = {}
        self._connected = False
        self._closed = False
        self._flushing = False
        self._line: Line | None = None
        self._over: asyncio.Future[str] | None = None
        self._life = self._loop.create_task(self._live(), name=f"forecourt store {name}")

    def __repr__(self) -> str:
        state = self.down or ("connected" if self._connected else "connecting")
        return f"<Wire {self.name}: {state}, {len(self._waiting)} waiting, {len(self._written)} written>"

    # For callers.

    def load(self) -> tuple[bool, int]:
        """Return what to compare wires by: whether it is down, and how many commands are under way."""
        return self.down is not None, len(self._waiting) + len(self._written)

    def send(
        self, packed: bytes, script: Script | None = None, undo: Undo | None = None, *, asking: bool = False
    ) -> Command:
        """Queue a command; its future gets the reply, ReplyError, Unanswered or StoreOverloaded."""
        if self.down is not None:
            raise Unanswered(f"{self.name}: {self.down}", written=False)
        if len(self._waiting) >= self._max_waiting:
            raise StoreOverloaded(f"{self.name}: {self._max_waiting} questions are waiting already")
        if script is not None and script.sha not in self._loads:
            self._load(script)
        ticks = self._ticks
        command = Command(packed, self._loop.create_future(), ticks.now, script, undo, asking=asking)
        self._waiting.append(command)
        if not self._flushing:
            self._flush_soon()
        if not ticks.running:
            ticks.start()
        return command

    def forsake(self, command: Command) -> None:
        """Undo what was granted to a caller who was cancelled before it could see the reply."""
        future = command.future
        if command.undo is not None and future.done() and not future.cancelled() and future.exception() is None:
            self._reconsider(command.undo, future.result())

    def undo(self, undo: Undo) -> None:
        """Send an undo, now or first thing on the next connection."""
        if not self._connected:
            self._keep(undo)
            return
        future = self._post(undo.script.pack(undo.keys, undo.args), undo.script)
        future.add_done_callback(partial(self._undone, undo))

    def drop(self, reason: str) -> None:
        """Give the connection up and make another; does nothing while there is none."""
        if self._over is not None and not self._over.done():
            self._connected = False  # nothing more is written to it
            self._over.set_result(reason)

    async def close(self) -> list[Undo]:
        """Let what was asked be answered, for a deadline at most, and end; return the undos not sent."""
        self._closed = True
        self.down = self.down or "closed"
        try:
            async with asyncio.timeout(self._deadline):
                while self._connected and (self._urgent or self._waiting or self._written):
                    await self._post(PING)
        except (TimeoutError, StoreDown):
            pass
        finally:
            self._life.cancel()
        await asyncio.wait([self._life])
        await asyncio.sleep(0)  # undos that were under way come back by callbacks of their futures
        return list(self._undos)

    def abandon(self) -> list[Undo]:
        """Leave an event loop that is not the caller's and may be closed; return the undos not sent."""
        self._closed = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._life.cancel)
        return list(self._undos)

    # Connecting.

    async def _live(self) -> None:
        failures = 0
        try:
            while True:
                scripts = list(self._known.values())
                try:
                    connection, loads = await greet(self._dial, scripts, self._terms.patience)
                except Exception as error:  # noqa: BLE001  # whatever it is, the next attempt may succeed
                    self._turn(f"cannot connect: {reason(error)}")
                else:
                    began = self._loop.time()
                    for script, load in zip(scripts, loads, strict=True):
                        future = self._loads[script.sha] = self._loop.create_future()
                        settle(future, load)
                    why = await self._serve(connection)
                    failures = 0 if self._loop.time() - began > _STEADY else failures
                    self._lost(f"connection lost: {why}")
                self._trouble()
                await asyncio.sleep(backoff(failures))
                failures += 1
        finally:
            self.down = self.down or "closed"
            self._fail_queued(self.down)
            self._lost(self.down)
            self._ticks.stop()
            self.tried.set()

    async def _serve(self, connection: Connection) -> str:
        """Carry commands until the connection is lost; return why."""
        over: asyncio.Future[str] = self._loop.create_future()
        self._over = over
        line = self._line = Line(connection, replied=self._replied, ready=self._flush_soon, lost=self.drop)
        self._connected = True
        undos, self._undos = self._undos, deque()
        for undo in undos:
            self.undo(undo)
        self._turn(None)
        self._flush_soon()
        try:
            return await over
        finally:
            self._connected = False
            await line.close()

    def _turn(self, down: str | None) -> None:
        """Open or close the breaker; what waits fails when it opens."""
        self.tried.set()
        if self._closed:
            return
        changed = (down is None) != (self.down is None)
        self.down = down
        if down is not None:
            self._fail_queued(down)
        if changed:
            self._terms.on_change()

    def _trouble(self) -> None:
        if not self._closed:
            self._terms.on_trouble()

    def _fail_queued(self, reason: str) -> None:
        for command in (*self._urgent, *self._waiting):
            if not command.patient:
                self._fail(command, reason, written=False)
        self._waiting.clear()

    def _lost(self, reason: str) -> None:
        """Settle the fate of everything that was under way when the connection went."""
        self._loads.clear()
        for command in self._urgent:
            self._fail(command, reason, written=False)
        self._urgent.clear()
        for command in self._written:
            self._fail(command, reason, written=True)
            if command.undo is not None:
                self._keep(command.undo)
        self._written.clear()

    def _fail(self, command: Command, reason: str, *, written: bool) -> None:
        settle(command.future, Unanswered(f"{self.name}: {reason}", written=written))

    # Writing.

    def _flush_soon(self) -> None:
        """Write what is queued once everybody had a turn; without a connection the next one does it."""
        if self._connected and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        line = self._line
        if not self._connected or line is None or line.full:
            return  # the next connection flushes, or this one when it is ready again
        if chunks := self._take():
            line.write(b"".join(chunks))
            if self._urgent or self._waiting:
                self._flush_soon()

    def _take(self) -> list[bytes]:
        """Move what may leave now from the queues to the written ones."""
        chunks: list[bytes] = []
        size = 0
        written = self._written
        room = min(self._most, self._window - len(written))
        for queue in (self._urgent, self._waiting):
            while queue and len(chunks) < room and size < _MOST_BYTES:
                command = queue.popleft()
                if command.future.done():
                    continue
                if command.asking:
                    chunks.append(_ASKING)
                    written.append(Command(_ASKING, self._loop.create_future(), self._ticks.now, patient=True))
                command.tick = self._ticks.now
                written.append(command)
                chunks.append(command.packed)
                size += len(command.packed)
        return chunks

    def _post(self, packed: bytes, script: Script | None = None) -> asyncio.Future[Reply]:
        """Queue a command of our own before all others."""
        if script is not None and script.sha not in self._loads:
            self._load(script)
        command = Command(packed, self._loop.create_future(), self._ticks.now, script, patient=True)
        self._urge(command)
        return command.future

    def _urge(self, command: Command) -> None:
        command.tick = self._ticks.now
        self._urgent.append(command)
        self._flush_soon()
        self._ticks.start()

    def _load(self, script: Script) -> None:
        """Load a script before whatever is queued next; without a connection the next handshake does."""
        self._known[script.sha] = script
        if self._connected:
            self._loads[script.sha] = self._post(script.load)

    # Reading.

    def _replied(self, replies: list[Reply | ReplyError]) -> None:
        """Give replies to those who wait for them, oldest first."""
        written = self._written
        for reply in replies:
            if not self._connected:
                return
            if not written:
                self.drop("a reply nobody asked for")
                return
            command = written.popleft()
            if isinstance(reply, ReplyError):
                self._refused(command, reply)
            elif command.future.done():
                self._late(command, reply)
            else:
                command.future.set_result(reply)
        if not self._flushing and (self._waiting or self._urgent):
            self._flush_soon()

    def _refused(self, command: Command, error: ReplyError) -> None:
        if self.down is not None:
            self._turn(None)
        script = command.script
        if script is not None and error.code == "NOSCRIPT" and command.resent < _MOST_RESENT:
            load = self._loads.get(script.sha)
            if load is None or load.done():
                self._load(script)
            command.resent += 1
            self._urge(command)
            return
        settle(command.future, self._explained(script, error))

    def _explained(self, script: Script | None, error: ReplyError) -> ReplyError:
        """Say why the server does not know a script: it would not load."""
        load = self._loads.get(script.sha) if script is not None else None
        if error.code != "NOSCRIPT" or load is None or not load.done() or load.exception() is None:
            return error
        return ReplyError("NOSCRIPT", f"{script} does not load: {load.exception()}")

    def _late(self, command: Command, reply: Reply) -> None:
        if self.down is not None:
            self._turn(None)
        if command.undo is not None:
            self._reconsider(command.undo, reply)

    def _reconsider(self, undo: Undo, reply: Reply) -> None:
        """Undo what was granted; by the loop, because what `granted` may raise is not the connection's trouble."""
        self._loop.call_soon(self._weigh, undo, reply)

    def _weigh(self, undo: Undo, reply: Reply) -> None:
        if undo.granted(reply):
            self.undo(undo)

    def _undone(self, undo: Undo, future: asyncio.Future[Reply]) -> None:
        error = future.exception()
        if isinstance(error, ReplyError) and not self._closed:
            self._terms.on_orphan(self.lane, undo, error)
        elif error is not None:
            self._keep(undo)

    def _keep(self, undo: Undo) -> None:
        if len(self._undos) >= MOST_UNDOS:
            self._terms.on_orphan(self.lane, self._undos.popleft(), None)
        self._undos.append(undo)

    # Deadlines.

    def _tick(self) -> bool:
        """End what was written, or else asked, longer than a deadline ago; False when nothing is outstanding."""
        oldest = self._ticks.now - PER_DEADLINE
        if self._written and self._written[0].tick < oldest:
            self._stalled(oldest)
        if self._connected:
            self._overdue(oldest - 1)  # a server that stands still shows first, on what was asked together
        elif self._waiting and self._waiting[0].tick < oldest:
            self._turn(f"no connection {self._late_by}")
        return bool(self._written or self._waiting or self._urgent)

    def _stalled(self, oldest: int) -> None:
        late = f"no answer {self._late_by}"
        # Late replies to patient ones would not be noticed as such, and clear `down`.
        expired = [each for each in takewhile(lambda each: each.tick < oldest, self._written) if not each.patient]
        for command in expired:
            self._fail(command, late, written=True)
        if expired and self.down is None:
            self._turn(late)
            self._trouble()
        if self._written[0].tick < self._ticks.now - self._stall:
            self.drop("it stands still")

    def _overdue(self, oldest: int) -> None:
        late = f"{self.name}: not written {self._late_by}, too many questions wait"
        while self._waiting and self._waiting[0].tick < oldest:
            settle(self._waiting.popleft().future, StoreOverloaded(late))
