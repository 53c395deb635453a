"""What all wires of one client have in common."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from forecourt.stores.redis.commands import Lane, ReplyError, Script, Undo
from forecourt.stores.redis.connection import Connection

Dial = Callable[[], Awaitable[Connection]]
"""Opens a connection to some server; raises what `connect` raises."""


class Terms(NamedTuple):
    """Bounds of every wire, and whom it tells.

    `known` are the scripts loaded on every new connection. `deadlines` (by lane) and `patience` (of one attempt to
    connect) are in seconds. `connections` is how many there are per lane and node, `max_waiting` how many commands may
    wait for their write on one, `flush` how many leave in one write.

    `on_change()` is called when a wire went down or up; `on_trouble()` when a deadline passed, a connection was lost or
    could not be had; `on_orphan(lane, undo, error)` with an undo that a wire will not send: the server refused it (with
    the error), or there are too many (None); `on_stray(lane, undo)` with one kept for a server that serves no more.
    """

    known: dict[bytes, Script]
    deadlines: dict[Lane, float]
    patience: float
    connections: int
    max_waiting: int
    flush: int
    on_change: Callable[[], None]
    on_trouble: Callable[[], None]
    on_orphan: Callable[[Lane, Undo, ReplyError | None], None]
    on_stray: Callable[[Lane, Undo], None]
