"""The process tier: kept answers in this process's memory, bounded in bytes, the longest unused going first.

It counts its own positions: every invalidation, wherever it came from, is one. An entry knows the position at which it
was asked for, before its handler ran or the store was read, and is valid while none of its tags was cut later. So an
entry that arrives after an invalidation it had not seen is invalid as it is put in, and nothing is searched for.
Cuts are remembered for as many tags as fit; when one is forgotten, so is everything older than it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from forecourt.core.caching.entries import Entry
from forecourt.core.caching.keys import Parts, Selection

MOST_CUTS = 100_000
MOST_VARIANTS = 16
MOST_PASSES = 10_000


@dataclass(slots=True, eq=False)
class _Resource:
    names: tuple[bytes, ...]
    entries: dict[Selection, tuple[Entry, tuple[str, ...]]] = field(default_factory=dict)
    weight: int = 0


class Tier:
    """Keeps at most `most` bytes of entries."""

    def __init__(self, most: int) -> None:
        self.position = 0
        self.weight = 0
        self._most = most
        self._resources: OrderedDict[Parts, _Resource] = OrderedDict()
        self._hard: OrderedDict[str, int] = OrderedDict()
        self._soft: OrderedDict[str, int] = OrderedDict()
        self._horizon = -1
        self._passes: OrderedDict[object, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Tier {len(self._resources)} answers, {self.weight} of {self._most} bytes>"

    def names(self, parts: Parts) -> tuple[bytes, ...] | None:
        """Return the fields that select among what is kept under this key; None when nothing is."""
        resource = self._resources.get(parts)
        return resource.names if resource is not None else None

    def get(self, parts: Parts, selection: Selection, names: tuple[bytes, ...] | None = None) -> Entry | None:
        """Return what is kept and valid; a soft cut makes it stale.

        `names`: the fields that `selection` is of, unless they are those that `names()` has just returned. Equal values
        of other fields select nothing.
        """
        resource = self._resources.get(parts)
        if resource is None or names not in (None, resource.names):
            return None
        kept = resource.entries.get(selection)
        if kept is None:
            return None
        entry, tags = kept
        if not self.valid(entry.seen, tags):
            self._drop(parts, resource, selection)
            return None
        self._resources.move_to_end(parts)
        if self._soft and not entry.softened and self._cut_since(self._soft, entry.seen, tags):
            entry = replace(entry, softened=True)
            resource.entries[selection] = (entry, tags)
        return entry

    def valid(self, seen: int, tags: tuple[str, ...]) -> bool:
        """Return whether none of these tags was cut after this position."""
        return seen > self._horizon and not (self._hard and self._cut_since(self._hard, seen, tags))

    def put(self, parts: Parts, selection: Selection, entry: Entry, tags: tuple[str, ...]) -> None:
        """Keep an entry, unless it is invalid already or as large as all there is room for."""
        weight = entry.weight
        if weight > self._most // 4 or not self.valid(entry.seen, tags):
            return
        resource = self._resources.get(parts)
        if resource is None or (resource.names != entry.names) or len(resource.entries) >= MOST_VARIANTS:
            self.forget(parts)
            resource = self._resources[parts] = _Resource(entry.names)
        self._drop(parts, resource, selection, empty=False)
        resource.entries[selection] = (entry, tags)
        resource.weight += weight
        self.weight += weight
        self._resources.move_to_end(parts)
        while self.weight > self._most:
            self.forget(next(iter(self._resources)))

    def forget(self, parts: Parts) -> None:
        """Drop what is kept under a key."""
        resource = self._resources.pop(parts, None)
        if resource is not None:
            self.weight -= resource.weight

    def _drop(self, parts: Parts, resource: _Resource, selection: Selection, *, empty: bool = True) -> None:
        kept = resource.entries.pop(selection, None)
        if kept is not None:
            resource.weight -= kept[0].weight
            self.weight -= kept[0].weight
        if empty and not resource.entries:
            del self._resources[parts]

    def cut(self, tags: Iterable[str], *, soft: bool = False) -> None:
        """Make everything with one of these tags invalid (`soft`: stale) that was asked for before now."""
        self.position += 1
        cuts = self._soft if soft else self._hard
        for tag in tags:
            cuts[tag] = self.position
            cuts.move_to_end(tag)
            if len(cuts) > MOST_CUTS:
                _, forgotten = cuts.popitem(last=False)
                self._horizon = max(self._horizon, forgotten)
        self.position += 1

    def cut_all(self) -> None:
        """Make everything invalid: it is not known what was cut."""
        self._horizon = self.position
        self.position += 1
        self._resources.clear()
        self.weight = 0

    def _cut_since(self, cuts: OrderedDict[str, int], seen: int, tags: tuple[str, ...]) -> bool:
        return any(cuts.get(tag, -1) > seen for tag in tags)

    def let_pass(self, spot: object, until: int) -> None:
        """Have nobody wait for a spot until then: its answers are not kept."""
        self._passes[spot] = until
        self._passes.move_to_end(spot)
        if len(self._passes) > MOST_PASSES:
            self._passes.popitem(last=False)

    def passes(self, spot: object, now: int) -> bool:
        """Return whether nobody waits for this spot."""
        return bool(self._passes) and self._passes.get(spot, 0) > now

    def kept_again(self, spot: object) -> None:
        """Have callers wait again: there was an answer that is kept."""
        self._passes.pop(spot, None)
