"""One call's way through its databases: the sessions it has opened, what it asked, and whether it may read a replica.

A visit belongs to one attempt at the handler. Its sessions are committed when the handler's answer begins, where that
is below 400, and rolled back otherwise: before the first byte leaves, so that nobody is told of what was not kept.
"""

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

from forecourt.db.opened import OpenedSession, given_back
from forecourt.exchange import Exchange

if TYPE_CHECKING:
    from forecourt.db.databases import Databases

logger = logging.getLogger("forecourt")

visiting: ContextVar["Visit | None"] = ContextVar("forecourt.visit", default=None)
"""The visit that the running code belongs to."""


class Visit:
    """What one call does with its databases; `reads`: its method is safe, so that a replica may answer."""

    __slots__ = ("counts", "databases", "endpoint", "exchange", "over", "reads", "sessions")

    def __init__(self, databases: "Databases", exchange: Exchange, endpoint: str, *, reads: bool) -> None:
        self.databases = databases
        self.exchange = exchange
        self.endpoint = endpoint
        self.reads = reads
        self.sessions: dict[tuple[str, bool], OpenedSession] = {}
        self.counts: dict[str, int] = {}
        self.over = False

    def counted(self, database: str, most: int) -> None:
        """Count a statement; warn, once, of a call that makes too many."""
        count = self.counts[database] = self.counts.get(database, 0) + 1
        if count == most + 1:
            logger.warning(
                "endpoint %r has asked the database %r more than %d times in one call: "
                "is something loaded row by row that one statement could load?",
                self.endpoint,
                database,
                most,
            )

    async def commit(self) -> None:
        """Commit what the handler has done; raises what the database says, after undoing what was left."""
        for session in self.sessions.values():
            if session.in_transaction():
                await session.commit()
                await self.wrote(session)

    async def rollback(self) -> None:
        """Undo what the handler has done."""
        for session in self.sessions.values():
            await session.rollback()

    async def close(self) -> None:
        """Give all connections back, whatever happens meanwhile."""
        self.over = True
        sessions, self.sessions = self.sessions, {}
        await given_back(sessions.values())

    async def wrote(self, session: "OpenedSession") -> None:
        """Have the caller read from the primary for a while, if anything was written."""
        if session.take_wrote():
            await self.databases.database(session.name).replicas.mark(self.exchange)
