"""Orders: what operators say while the service runs, known to all its processes within a second.

A switch to maintenance, a limit for an hour, another config: each is a small record in one book in the store (the
operations are those of the book of API keys). One task of each process reads the whole book in one question, every
0.25 to 0.5 s and at random within that; requests ask nothing. So it needs no connection of its own, as a subscription
would, and no message can be missed: what is read is what holds.

With the store down a process keeps to what it read last. A record says itself when it ends, so that its end needs no
store; what has ended is swept out with the next order. A record that this version cannot read is passed by, and logged
once.
"""

import asyncio
import contextvars
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence

from forecourt.errors import StoreDown, StoreError
from forecourt.principals import Keys
from forecourt.stores.contract import Question, Settlement, Store
from forecourt.types import Clock

logger = logging.getLogger("forecourt")

Order = Mapping[str, object]
"""One record: `kind`, `about` (which together name it), `until` (µs since the epoch, or None), and what is ordered."""

Follow = Callable[[Sequence[Order]], object]
"""Told all orders of one kind that have not ended, whenever they differ from before."""

_MOST = 10_000
_PAUSE = 0.5


class Orders:
    """The book of orders of one service, followed by this process."""

    def __init__(self, store: Store, keys: Keys, clock: Clock, rand: Callable[[], float] = random.random) -> None:
        self.clock = clock
        self._store = store
        self._place = keys.key("orders", "book", "orders")
        self._random = rand
        self._followers: dict[str, Follow] = {}
        self._known: dict[str, list[bytes]] = {}
        self._odd: set[bytes] = set()
        self._lines: Sequence[bytes] = ()
        self._all: list[Order] = []
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Orders, {len(self._all)} known>"

    def hear(self, kind: str, follow: Follow) -> None:
        """Have `follow` told what is ordered of this kind, from the next reading on."""
        self._followers[kind] = follow
        self._known[kind] = []

    async def give(self, order: Order) -> None:
        """Write an order down, in place of one of the same name, and follow it here.

        Other processes follow within half a second. Raises StoreDown or StoreOverloaded.
        """
        now = self.clock.now()
        ended = [each for each in self._all if (until := ends(each)) is not None and until <= now]
        line = json.dumps(order, separators=(",", ":"), sort_keys=True).encode()
        told = [Settlement("key_put", self._place, (_name(order), line), durable=True)]
        swept = [Settlement("key_drop", self._place, (_name(each),)) for each in ended if _name(each) != _name(order)]
        await self._store.settle([*told, *swept])
        await self.read()

    async def take_back(self, kind: str, about: str) -> bool:
        """Strike an order out; False where there was none. Raises StoreDown or StoreOverloaded."""
        there = any(_name(each) == f"{kind}:{about}" for each in await self.read())
        await self._store.settle([Settlement("key_drop", self._place, (f"{kind}:{about}",), durable=True)])
        await self.read()
        return there

    async def read(self) -> Sequence[Order]:
        """Read the book, and tell whoever follows what has changed; return all orders.

        Raises StoreDown or StoreOverloaded; what was known before still holds then.
        """
        (answer,) = await self._store.decide([Question("key_list", self._place, (_MOST,), "closed")])
        if answer.degraded or not answer.values:
            raise StoreDown("to read operators' orders needs the store, which does not answer")
        book = answer.values[0]
        assert isinstance(book, bytes)
        self._follow_all(book.splitlines())
        return self._all

    def run(self) -> None:
        """Have the task at work on the running loop; it belongs to no request."""
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._read_on(), context=contextvars.Context())

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    async def _read_on(self) -> None:
        while True:
            await self.clock.sleep(_PAUSE * (1 + self._random()) / 2)
            try:
                await self.read()
            except StoreError:  # the store logs that it is down; what was read last holds, until it ends
                self._follow_all(self._lines)
            except Exception:
                logger.exception("orders could not be followed")

    def _follow_all(self, lines: Sequence[bytes]) -> None:
        found: dict[str, list[tuple[bytes, Order]]] = {kind: [] for kind in self._followers}
        self._lines, self._all = lines, []
        now = self.clock.now()
        for line in sorted(lines):
            order = self._readable(line)
            if order is None:
                continue
            self._all.append(order)
            until = ends(order)
            if until is None or now < until:
                found.get(str(order["kind"]), []).append((line, order))
        for kind, told in found.items():
            words = [line for line, _ in told]
            if words != self._known[kind]:
                self._known[kind] = words
                self._followers[kind]([order for _, order in told])

    def _readable(self, line: bytes) -> Order | None:
        try:
            order = json.loads(line)
            _, _ = _name(order), ends(order)
            return dict(order)
        except (ValueError, LookupError, TypeError):
            pass
        if line not in self._odd:
            self._odd.add(line)
            logger.warning("an order in the store is of a form that this version cannot read; it is passed by")
        return None


def ends(order: Order) -> int | None:
    """Return when an order ends, in µs since the epoch; None: when it is taken back. TypeError for anything else."""
    until = order.get("until")
    if until is None or type(until) is int:
        return until
    raise TypeError("until is a whole number of µs")


def _name(order: Order) -> str:
    return f"{order['kind']}:{order['about']}"
