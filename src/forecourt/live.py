"""Live config: another config comes, is checked as at a start, and takes the place of the one in force in one step.

`PolicyMiddleware(app, config=config, watch="file")` looks at the file that its config was read from;
`watch="store"` at what `forecourt config push` has put into the store. Either is one task of the process:

- A file is looked at every quarter of a second, and read once it has stayed as it is for as long: what is written in
  two steps is not read between them.
- What is pushed is an order (`orders.py`) that names a document in the store by its digest.

A config is read in a thread. Then, without an await, it is compared with the one in force, what cannot change live is
refused by name, the `JobConfig` becomes what the new one says, every stack of it is compiled, and all of them go over.
Whatever fails is undone. So a call runs wholly under one config: it has its chain from the moment it is dispatched;
where several stacks of one config guard an app, they keep earlier chains for the calls that began under them.

What is shared stays: store, breakers, keys of issuers, kept answers, connections. An endpoint whose policy did not
change keeps its chain, with all that this process has learnt for it. Limits read what they have counted with their new
numbers. A config that is refused is logged and counted once; the one in force stays.
"""

import asyncio
import contextvars
import hashlib
import json
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

from forecourt.config import JobConfig
from forecourt.config_check import EndpointLike
from forecourt.config_diff import Change, changes
from forecourt.config_file import Document
from forecourt.config_live import Watch, fixed, stamp
from forecourt.config_maintenance import can_be_switched
from forecourt.config_spelling import spelt_change
from forecourt.errors import ConfigError, StoreDown, StoreError
from forecourt.orders import Order, Orders
from forecourt.principals import Keys
from forecourt.stores.contract import Question, Settlement, Store

logger = logging.getLogger("forecourt")

KIND = "config"
"""The kind of the order that names a pushed document."""

ABOUT = "document"

End = Literal["adopted", "refused"]
"""What became of a config that came."""

_LOOK = 0.25
_AGAIN = 0.1
_MOST_TOLD = 20


class Epoch:
    """The time between two swaps; a call that several stacks guard keeps the one it began in."""


class Stack(Protocol):
    """One middleware of the config."""

    @property
    def guarded_endpoints(self) -> Sequence[EndpointLike]:
        """The app's endpoints; none before the start."""
        ...

    def rebuild(self) -> Callable[[], object]:
        """Compile for what the config says now; return what puts that in force. ConfigError where it does not fit."""
        ...


class Live:
    """Watches for another config, and has all stacks of this one go over to it."""

    def __init__(
        self,
        config: JobConfig,
        store: Store,
        keys: Keys,
        orders: Orders,
        ends: Mapping[str, Callable[[str], object]],
    ) -> None:
        self.epoch = Epoch()
        self.watching: Watch | None = None
        self.pins = False
        """Whether calls keep the epoch they began in: several stacks may ask for it."""
        self._config = config
        self._books = Books(store, keys, orders)
        self._orders = orders
        self._ends = ends
        self._config.overridden.changed = self.limits_changed
        self._stacks: weakref.WeakSet[Stack] = weakref.WeakSet()
        self._pushed: str | None = None
        self._taken: str | None = None
        self._come = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Live config, {self.watching or 'nothing'} is watched>"

    def join(self, stack: Stack, watch: Watch | None) -> None:
        """Have a stack of this config go over with the others."""
        self._stacks.add(stack)
        self.watching = watch or self.watching
        changes_come = self.watching is not None or self._config.limit_overrides
        self.pins = changes_come and len(self._stacks) > 1
        if self.watching == "store":
            self._orders.hear(KIND, self._hear)

    async def begin(self) -> None:
        """Watch from now on; what was pushed before is in force when this returns, unless the store does not answer."""
        task = self._task
        if self.watching is None or (task and not task.done() and task.get_loop() is asyncio.get_running_loop()):
            return
        if self.watching == "store" and self._pushed != self._taken:
            await self._take_pushed()
        self._come = asyncio.Event()
        watch = self._watch_file if self.watching == "file" else self._watch_store
        self._task = asyncio.get_running_loop().create_task(watch(), context=contextvars.Context())

    async def stop(self) -> None:
        """Watch no more."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    def swap(self, new: JobConfig) -> list[Change]:
        """Put another config in force, whole or not at all; return what has changed. ConfigError where it cannot be."""
        config = self._config
        endpoints = [endpoint for stack in self._stacks for endpoint in stack.guarded_endpoints]
        found = changes(config, new, endpoints or None)
        if wrong := list(fixed(change.place for change in found)):
            raise ConfigError(*wrong)
        if not found:
            return []
        undo = config.adopt(new)
        try:
            self.rebuild()
        except BaseException:
            undo()
            raise
        return found

    def rebuild(self) -> None:
        """Have all stacks compiled for what holds now, and go over; ConfigError, and nothing done, where one cannot."""
        ready = [stack.rebuild() for stack in list(self._stacks)]
        self.epoch = Epoch()
        for put_in_force in ready:
            put_in_force()

    def limits_changed(self) -> None:
        """Go over to the limits that operators have changed, or to those of the config again."""
        try:
            self.rebuild()
        except ConfigError as error:
            logger.error("changed limits cannot be put in force: %s", error)

    async def take(self, name: str, read: Callable[[], JobConfig]) -> None:
        """Read a config and put it in force, or refuse it; either is logged and counted."""
        try:
            found = self.swap(await asyncio.to_thread(read))
        except ConfigError as error:
            self._refuse(name, "; ".join(error.problems))
        except Exception as error:
            logger.exception("another config could not be put in force")
            self._refuse(name, type(error).__name__)
        else:
            if found:
                logger.info("config %s: %s", name, _spelt(found))
                self._tell("adopted")
            if can_be_switched(self._config.endpoints, self._config.default):
                self._orders.run()

    def _refuse(self, name: str, why: str) -> None:
        logger.error("config %s is refused, the one in force stays: %s", name, why)
        self._tell("refused")

    def _tell(self, end: End) -> None:
        for listener in self._ends.values():
            listener(end)

    async def _watch_file(self) -> None:
        origin = self._config.origin
        assert origin is not None, "what is watched was read from a file"
        read = written = origin.stamp
        while True:
            await self._orders.clock.sleep(_LOOK)
            found = stamp(origin.path)
            still, written = found == written, found
            if still and found != read:
                read = found
                await self.take(str(origin.path), self._config.reread)

    def _hear(self, orders: Sequence[Order]) -> None:
        """Note which document is pushed; empty: the file's own words hold again."""
        self._pushed = next((str(order.get("digest")) for order in orders if order["about"] == ABOUT), "")
        self._come.set()

    async def _watch_store(self) -> None:
        while True:
            if self._pushed == self._taken:
                self._come.clear()
                await self._come.wait()
            elif not await self._take_pushed():
                await self._orders.clock.sleep(_AGAIN)

    async def _take_pushed(self) -> bool:
        """Put in force what is pushed; False where the store does not have it yet, or does not answer."""
        pushed = self._pushed
        try:
            document = await self._books.document(pushed) if pushed else None
        except StoreError:
            return False
        except ConfigError as error:
            self._refuse("pushed", str(error))
        else:
            await self.take(document.name if document else "of the file", partial(self._config.reread, document))
        self._taken = pushed
        return True


class Books:
    """The documents in the store, and the order that names the one in force."""

    def __init__(self, store: Store, keys: Keys, orders: Orders) -> None:
        self._store = store
        self._place = keys.key("orders", "documents", "orders")
        self._orders = orders

    async def push(self, document: Document) -> str:
        """Have all processes that watch the store go over to this document; return its digest."""
        text = json.dumps(document._asdict()).encode()
        digest = _digest(text)
        before = await self.pushed()
        await self._store.settle([Settlement("key_put", self._place, (digest, text), durable=True)])
        await self._orders.give({"kind": KIND, "about": ABOUT, "until": None, "digest": digest})
        if before not in (None, digest):
            await self._store.settle([Settlement("key_drop", self._place, (str(before),))])
        return digest

    async def drop(self) -> bool:
        """Have them go back to their files; False where nothing was pushed."""
        before = await self.pushed()
        there = await self._orders.take_back(KIND, ABOUT)
        if before is not None:
            await self._store.settle([Settlement("key_drop", self._place, (before,))])
        return there

    async def pushed(self) -> str | None:
        """Return the digest of the document in force; None where nothing is pushed."""
        orders = await self._orders.read()
        mine = [each for each in orders if (each["kind"], each["about"]) == (KIND, ABOUT)]
        return str(mine[0].get("digest")) if mine else None

    async def document(self, digest: str) -> Document:
        """Return a document; StoreDown where the store does not have it (yet), ConfigError where it is no document."""
        (answer,) = await self._store.decide([Question("key_find", self._place, (digest,), "closed")])
        text = answer.values[0] if answer.values else b""
        if not isinstance(text, bytes) or _digest(text) != digest:
            raise StoreDown("the store does not have the document that is pushed")
        try:
            told = json.loads(text)
            return Document(str(told["name"]), str(told["text"])).checked()
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError("the document that is pushed cannot be read") from error


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _spelt(found: Sequence[Change]) -> str:
    lines = [spelt_change(change) for change in found[:_MOST_TOLD]]
    if len(found) > _MOST_TOLD:
        lines.append(f"and {len(found) - _MOST_TOLD} more")
    return f"{len(found)} changed: {'; '.join(lines)}"
