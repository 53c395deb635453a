"""A session of one database: SQLAlchemy's own, which knows its database and gives its connection back in any case."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from forecourt.db.alchemy import AsyncEngine, AsyncSession, Connection, Session, SessionTransaction, event
from forecourt.db.changes import ChangingSession, noting
from forecourt.deadlines import current_deadline

if TYPE_CHECKING:
    from forecourt.db.databases import Databases

TIMEOUT = "SET LOCAL statement_timeout = "
"""How a transaction's statements are bounded."""

_closing: set[asyncio.Task[None]] = set()


class OpenedSession(AsyncSession):
    """An `AsyncSession` of the database `name`; `replica`: it reads from the replica."""

    sync_session_class: type[Session] = ChangingSession

    def __init__(self, name: str, engine: AsyncEngine, databases: "Databases", *, replica: bool) -> None:
        super().__init__(engine, expire_on_commit=False, info=noting(databases.evict))
        self.name = name
        self.databases = databases
        self.replica = replica

    @property
    def changing(self) -> ChangingSession:
        """What it stands around."""
        session = self.sync_session
        assert isinstance(session, ChangingSession)
        return session

    def take_wrote(self) -> bool:
        """Return whether changes were committed since the last time."""
        changes = self.changing.changes
        wrote, changes.wrote = changes.wrote, False
        return wrote


@event.listens_for(ChangingSession, "after_begin")
def _bounded(_session: ChangingSession, _transaction: SessionTransaction, connection: Connection) -> None:
    """Have no statement of this transaction go on when nobody waits for it any more."""
    deadline = current_deadline()
    if deadline is not None and connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"{TIMEOUT}{max(1, int(deadline.remaining() * 1000))}")


async def given_back(sessions: Iterable[OpenedSession]) -> None:
    """Close sessions; a caller who is cancelled meanwhile leaves that to tasks of their own."""
    tasks: list[asyncio.Task[None]] = []
    for session in sessions:
        if session.in_transaction():
            tasks.append(asyncio.get_running_loop().create_task(session.close(), name="forecourt database session"))
        else:
            session.sync_session.close()
    for task in tasks:
        _closing.add(task)
        task.add_done_callback(_closing.discard)
    if tasks:
        await asyncio.wait(tasks)  # which, cancelled, cancels none of them


async def all_closed() -> None:
    """Return when no session of this loop is still being closed."""
    loop = asyncio.get_running_loop()
    if mine := [task for task in _closing if task.get_loop() is loop]:
        await asyncio.wait(mine)
