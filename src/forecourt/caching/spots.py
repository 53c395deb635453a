"""What one request looks for in the cache, and what a look-up found."""

from dataclasses import dataclass, field
from typing import NamedTuple

from forecourt.core.caching.entries import Entry
from forecourt.core.caching.keys import Parts, Selection, digest


@dataclass(slots=True)
class Spot:
    """A place in the cache: the parts of its key, the request fields that select there, and the ids of its tags.

    `seen`: the process tier's position when it was asked for, before any handler or store. `stamps`: those of the tags,
    as the store gave them then. `reading`: from where the log is read along, and when that was asked.
    """

    parts: Parts
    names: tuple[bytes, ...]
    selection: Selection
    tags: tuple[str, ...]
    seen: int
    stamps: tuple[str, ...] = ()
    reading: tuple[int, int] | None = None
    _variant: str | None = field(default=None)

    @property
    def place(self) -> tuple[Parts, Selection]:
        """What flights and passes are known by in this process."""
        return self.parts, self.selection

    @property
    def variant(self) -> str:
        """The digest of the selection, by which the store knows it."""
        if self._variant is None:
            self._variant = digest(self.selection)
        return self._variant

    @property
    def names_text(self) -> str:
        """The selecting fields, as the store keeps them."""
        return b",".join(self.names).decode("latin-1")

    def select(self, names: tuple[bytes, ...], selection: Selection) -> None:
        """Look by other fields."""
        self.names, self.selection, self._variant = names, selection, None


class Found(NamedTuple):
    """What a look-up found.

    `entry`: valid, fresh or stale. `leads`: this caller makes the answer, and others wait for it. `waits`: µs that
    another's lead lasts unless it is renewed; 0: nobody's. `passes`: nobody waits for anybody. `names`: look again by
    these. `unwanted`: an entry was found that is not valid; look again without it, by when it was filled.
    """

    entry: Entry | None = None
    leads: bool = False
    waits: int = 0
    passes: bool = False
    names: tuple[bytes, ...] | None = None
    unwanted: int = 0


NOTHING = Found()
"""The store did not answer: a miss, for which nobody leads."""
