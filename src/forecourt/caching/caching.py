"""The cache of one config in this process: its tier, its part of the store, invalidation, and values kept by code.

With `memory://` the tier is all there is, and asks no store: invalidation is immediate, single flight is by process.
With a store the tier is guarded by the log (`caching.guard`), and leads make single flight hold across processes.
"""

import asyncio
import logging
import os
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine, Iterable, Sequence

from forecourt.caching.flights import Flight, Flights
from forecourt.caching.guard import VALID, Guard
from forecourt.caching.sealing import IN_THREAD, opened, sealed
from forecourt.caching.spots import NOTHING, Found, Spot
from forecourt.caching.tier import Tier
from forecourt.core import cache as ops
from forecourt.core.caching.entries import Entry, Head, decode_head, encode_head
from forecourt.core.caching.keys import digest
from forecourt.errors import StoreError
from forecourt.leases import Heartbeat, Kept
from forecourt.sealing import Seal
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.types import SECOND, Clock

logger = logging.getLogger("forecourt")

LEAD = 3 * SECOND
"""µs that a lead lasts unless it is renewed: how long a process that died keeps others waiting."""

PASS = 120 * SECOND
"""µs for which nobody waits where an answer was not to be kept (hit-for-miss)."""

TAG_TTL = 31 * 86_400 * SECOND
"""µs that a stamp is kept: longer than any entry. One that is gone makes its entries invalid."""

MOST_INFLATED = 64 * 1024 * 1024
_LEAST_COMPRESSED = 1024
_KNOWN_TAGS = 10_000
_MOST_QUEUED = 100_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

_TEXT = (b"text/", b"application/json", b"application/xml", b"application/javascript", b"image/svg")


class Caching:
    """What all cached endpoints of one config share in this process.

    `settle` tells the store in a task of its own. `store` None: the tier is all there is. `ordered`: tags must be cut
    before the log says so (a cluster, whose slots are told one after the other).
    """

    def __init__(
        self,
        clock: Clock,
        namespace: str,
        most: int,
        *,
        store: Store | None = None,
        settle: Callable[[Sequence[Settlement]], None] | None = None,
        heartbeat: Heartbeat | None = None,
        ordered: bool = False,
    ) -> None:
        self.clock = clock
        self.tier = Tier(most)
        self.flights = Flights()
        self.store = store
        self._settle = settle
        self._heartbeat = heartbeat
        self._namespace = namespace
        self._ordered = ordered
        self._own = unique()
        self.down = False
        """Whether the store's last answer was none: then nothing is told to it either."""
        log = f"{namespace}:{{cache}}:log"
        self.guard = Guard(store, clock, self.tier, log, self._own) if store is not None else None
        self._tag_ids: dict[str, str] = {}
        self.seals: dict[str, Seal] = {}
        """What seals the kept answers of these endpoints in the store; of others they are plain there."""
        self._queued: dict[tuple[str, bool], None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Caching {self.tier!r}, {len(self._queued)} invalidations queued>"

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run what outlives its caller; it ends with the app."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End what runs in the background; what is queued is tried once more."""
        if self.guard is not None:
            self.guard.stop()
        loop = asyncio.get_running_loop()
        mine = {task for task in self._tasks if task.get_loop() is loop}
        for task in mine:
            task.cancel()
        if mine:
            await asyncio.wait(mine)
        if self._queued:
            await self._flush_once()

    # Reading.

    def tag_id(self, tag: str) -> str:
        """Return what a tag is called in the store and the log: a digest, as a tag may name a person."""
        known = self._tag_ids.get(tag)
        if known is None:
            if len(self._tag_ids) >= _KNOWN_TAGS:
                self._tag_ids.clear()
            known = self._tag_ids[tag] = digest(("tag", tag))
        return known

    def tier_serves(self, now: int) -> bool:
        """Return whether the tier may be believed at this instant."""
        return self.guard is None or self.guard.holds(now)

    def shares(self, flight: Flight, came: int) -> bool:
        """Return whether a caller who came at this instant may be given what a flight brought, if nothing known cut it.

        What was made invalid while it was under way is known where the log is read. Where it is not, a flight that had
        not been under way for long when the caller came brings nothing that is too old for it.
        """
        return came - flight.begun < VALID or self.tier_serves(self.clock.now())

    def questions(self, spot: Spot, own: str, unwanted: int = 0) -> list[Question]:
        """Return what to ask the store for: the tags' stamps, the entry, and the log where the tier is silent."""
        fresh = unique()
        asked = [Question("cache_tag", self._tag_key(tag), (fresh, TAG_TTL), "miss") for tag in spot.tags]
        args = (spot.variant, spot.names_text, own, LEAD, unwanted)
        asked.append(Question("cache_look", self._key(spot), args, "miss"))
        now = self.clock.now()
        spot.reading = None  # one that was asked before may have had no answer
        if self.guard is not None and not self.guard.holds(now):
            reading = self.guard.question()
            spot.reading = int(reading.args[0]), now
            asked.append(reading)
        return asked

    def read(self, spot: Spot, answers: Sequence[Answer]) -> Found:
        """Return what the store answered; what cannot be understood is a miss."""
        if not all(answer.values for answer in answers):
            return self._down()
        if self.down:
            self.down = False
            logger.info("the cache's store is back")
        if spot.reading is not None and self.guard is not None:
            self.guard.read(answers[-1], *spot.reading)
            spot.reading, answers = None, answers[:-1]
            if not self._ordered:
                # One script read the log, the stamps and the entry: they are of one instant.
                spot.seen = self.tier.position
        spot.stamps = tuple([bytes(answer.values[0]).decode("ascii") for answer in answers[:-1]])
        kind, left, resident, filled = (int(value) for value in answers[-1].values[:4])
        names, head, body = (bytes(value) for value in answers[-1].values[4:])
        if kind == ops.OTHER_NAMES:
            return Found(names=tuple(names.split(b",")) if names else ())
        leads, waits = kind in ops.LEADS, left if kind in ops.WAITS else 0
        if leads or kind == ops.ABSENT_PASS:
            spot.seen = self.tier.position  # the handler has not run yet
        if kind == ops.ABSENT_PASS:
            return Found(passes=True)
        entry = self._entry(spot, head, body, resident, filled) if filled else None
        if entry is None and kind == ops.FRESH:
            return Found(unwanted=filled)
        return Found(entry, leads, waits)

    async def look(self, spot: Spot, own: str, unwanted: int = 0) -> Found:
        """Ask the store by itself, in a trip of its own; a store that does not answer is a miss."""
        assert self.store is not None
        spot.seen = self.tier.position
        try:
            answers = await self.store.decide(self.questions(spot, own, unwanted))
        except StoreError:
            return self._down()
        return self.read(spot, answers)

    def _down(self) -> Found:
        if not self.down:
            self.down = True
            logger.warning("the cache's store does not answer: handlers run")
        return NOTHING

    def _entry(self, spot: Spot, head: bytes, body: bytes, resident: int, filled: int) -> Entry | None:
        """Return an entry of the store where its stamps are those of now; one of old soft parts is stale."""
        if self._queued and any(tag in spot.tags for tag, _ in self._queued):
            return None
        try:
            if (seal := self._seal(spot)) is not None:
                head, body = opened(seal, self._stored(spot), head, body)
            kept: Head = decode_head(head)
            whole = _inflated(body) if kept.compressed else body
        except (ValueError, zlib.error):
            return None
        hard = [stamp.partition(".")[0] for stamp in kept.stamps]
        if hard != [stamp.partition(".")[0] for stamp in spot.stamps]:
            return None
        return Entry(
            kept.status,
            kept.headers,
            whole,
            kept.life,
            zero=self.clock.now() - resident - kept.age,
            took=kept.took,
            firm=kept.firm,
            names=spot.names,
            seen=spot.seen,
            stamps=kept.stamps,
            filled=filled,
            softened=kept.stamps != spot.stamps,
        )

    # Writing.

    def keep(self, spot: Spot, entry: Entry) -> None:
        """Put an entry into the tier."""
        self.tier.put(spot.parts, spot.selection, entry, (*spot.tags, *entry.groups))
        self.tier.kept_again(spot.place)

    async def fill(self, spot: Spot, entry: Entry, own: str, keep: int) -> None:
        """Keep an entry in the tier and the store; its stamps are those seen before the handler ran.

        What names groups of its own is kept in the tier only: nobody knew before the handler ran which stamps to see.
        """
        self.keep(spot, entry)
        if self.store is None:
            return None
        if entry.groups:
            return self.release(spot, own)
        compressed, body = await _packed(entry)
        age = entry.age(self.clock.now())
        try:
            head = encode_head(entry, age, compressed=compressed)
        except ValueError:
            return self.release(spot, own)
        if (seal := self._seal(spot)) is not None:
            head, body = await sealed(seal, self._stored(spot), head, body)
        args = (spot.variant, spot.names_text, head, body, own, max(0, entry.life.fresh - age), keep)
        self._tell(Settlement("cache_fill", self._key(spot), args))

    def let_pass(self, spot: Spot, own: str, lasting: int = PASS) -> None:
        """Have nobody wait for a spot whose answer is not kept."""
        self.tier.let_pass(spot.place, self.clock.now() + lasting)
        if self.store is not None:
            self._tell(Settlement("cache_pass", self._key(spot), (spot.variant, own, lasting)))

    def released(self, spot: Spot, own: str) -> Settlement:
        """Return the settlement that gives a lead back."""
        return Settlement("cache_release", self._key(spot), (spot.variant, own))

    def release(self, spot: Spot, own: str) -> None:
        """Give a lead back."""
        if self.store is not None:
            self._tell(self.released(spot, own))

    def hold(self, spot: Spot, own: str) -> None:
        """Have a lead renewed while its handler works."""
        if self._heartbeat is not None and self.store is not None:
            self._heartbeat.keep(Kept("cache_hold", self._key(spot), LEAD), (f"{spot.variant}:{own}",))

    def let_go(self, spot: Spot, own: str) -> None:
        """Renew it no more."""
        if self._heartbeat is not None and self.store is not None:
            self._heartbeat.drop(Kept("cache_hold", self._key(spot), LEAD), (f"{spot.variant}:{own}",))

    def _tell(self, settlement: Settlement) -> None:
        assert self._settle is not None
        if not self.down:
            self._settle([settlement])

    def _seal(self, spot: Spot) -> Seal | None:
        return self.seals.get(str(spot.parts[0])) if self.seals else None

    def _stored(self, spot: Spot) -> str:
        return f"{self._key(spot)} {spot.variant} {spot.names_text}"

    def _key(self, spot: Spot) -> str:
        return f"{self._namespace}:{{{digest(spot.parts)}}}:cache"

    def _tag_key(self, tag: str) -> str:
        return f"{self._namespace}:{{{tag}}}:tag"

    # Invalidating.

    async def invalidate(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Make what has these tags invalid; returns when the store knows, or when it is queued."""
        await self.cut([self.tag_id(tag) for tag in tags], soft=soft)

    async def cut(self, ids: Sequence[str], *, soft: bool = False) -> None:
        """Invalidate by the tags' ids. Cancelled, this returns early but the telling goes on."""
        if not ids:
            return
        self.tier.cut(ids, soft=soft)
        if self.store is not None:
            await asyncio.shield(self.spawn(self._cut(list(ids), soft), "forecourt cache invalidation"))

    async def _cut(self, ids: list[str], soft: bool) -> None:
        try:
            await self._tell_cut(ids, soft)
        except (StoreError, asyncio.CancelledError) as error:
            for tag in ids[: _MOST_QUEUED - len(self._queued)]:
                self._queued[tag, soft] = None
            if isinstance(error, asyncio.CancelledError):
                raise
            logger.warning("the cache's invalidation is queued: %s", error)
            if self._flushing is None or self._flushing.done():
                self._flushing = self.spawn(self._flush(), "forecourt cache queue")
        finally:
            # Once more: what was asked for meanwhile may have been read before the store knew.
            self.tier.cut(ids, soft=soft)

    async def _tell_cut(self, ids: Sequence[str], soft: bool) -> None:
        assert self.store is not None
        assert self.guard is not None
        stamp = unique()
        cuts = [Settlement("cache_cut", self._tag_key(tag), (stamp, int(soft), TAG_TTL), durable=True) for tag in ids]
        record = self.guard.record(list(ids), soft=soft)
        if self._ordered:
            await self.store.settle(cuts)
            await self.store.settle([record])
        else:
            await self.store.settle([*cuts, record])

    async def _flush(self) -> None:
        pause = _FIRST_PAUSE
        while self._queued:
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self._flush_once()

    async def _flush_once(self) -> None:
        for soft in (False, True):
            queued = [tag for tag, softly in self._queued if softly == soft][:1000]
            if not queued:
                continue
            try:
                await self._tell_cut(queued, soft)
            except StoreError:
                return
            self.tier.cut(queued, soft=soft)
            for tag in queued:
                del self._queued[tag, soft]


def unique() -> str:
    """Return 72 random bits as 12 characters: a stamp, or an id."""
    return urlsafe_b64encode(os.urandom(9)).decode()


async def _packed(entry: Entry) -> tuple[bool, bytes]:
    """Return the body as it is kept in a store: compressed where that pays; a large one is packed in a thread."""
    kinds = [value for name, value in entry.headers if name == b"content-type"]
    encoded = any(name == b"content-encoding" for name, _ in entry.headers)
    if len(entry.body) < _LEAST_COMPRESSED or encoded or not any(kind.startswith(_TEXT) for kind in kinds):
        return False, entry.body
    if len(entry.body) > IN_THREAD:
        packed = await asyncio.to_thread(zlib.compress, entry.body, 1)
    else:
        packed = zlib.compress(entry.body, 1)
    return (True, packed) if len(packed) < 0.9 * len(entry.body) else (False, entry.body)


def _inflated(body: bytes) -> bytes:
    """Return a compressed body; ValueError beyond a bound."""
    inflating = zlib.decompressobj()
    whole = inflating.decompress(body, MOST_INFLATED)
    if inflating.unconsumed_tail or not inflating.eof:
        raise ValueError("a body that is damaged, or too large")
    return whole
