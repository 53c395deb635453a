"""What a transaction changes, by the tags of its rows; they are evicted after it has committed, never before.

A row of table `records` with the key 42 has the tags `records` and `records:42` (composite keys with commas). A
statement that changes rows without naming them evicts `records:*` besides, a tag that everything has which has one of a
row. Tables that a statement changes out of sight (SQL as text, triggers) are declared by an execution option:
`changes={"records"}`.

Where nobody knows whether a commit has come through (cancelled or cut off in the middle), the tags are evicted too: a
miss too many is no harm. A fill that races a commit carries stamps older than the eviction, so it is never served.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from forecourt.db.alchemy import (
    AsyncEngine,
    CompoundSelect,
    Connection,
    Delete,
    Insert,
    Mapper,
    Select,
    Session,
    SessionTransaction,
    Table,
    UOWTransaction,
    Update,
    await_only,
    event,
    inspect,
)

OPTION = "changes"
"""The execution option by which a statement declares tables that it changes out of sight."""

_PLACE = "forecourt changes"

Evict = Callable[[Iterable[str]], Awaitable[None]]


class Changes:
    """The tags of one session's open transaction."""

    __slots__ = ("evict", "flushing", "opaque", "reached", "sure", "tags", "wrote")

    def __init__(self, evict: Evict) -> None:
        self.evict = evict
        self.tags: set[str] = set()
        self.flushing = False
        self.opaque = False
        """Whether something was carried out of which nobody knows what it changed."""
        self.reached = False
        """Whether the database was told to commit."""
        self.sure = False
        """Whether it said that it has."""
        self.wrote = False
        """Whether the session has ever committed a change."""

    def take(self) -> set[str]:
        """Return the tags to evict now that the transaction is over, and begin anew."""
        due = self.tags if self.reached or self.sure else set()
        self.wrote = self.wrote or bool(due)
        self.tags, self.opaque, self.reached, self.sure = set(), False, False, False
        return due


class ChangingSession(Session):
    """A session that knows what it changes."""

    @property
    def changes(self) -> Changes:
        """What its transaction has changed."""
        changes = self.info[_PLACE]
        assert isinstance(changes, Changes)
        return changes

    @property
    def changed(self) -> bool:
        """Whether its transaction has changed anything, or is about to."""
        return bool(
            self.changes.tags
            or self.changes.opaque
            or self.new
            or self.deleted
            or any(map(self.is_modified, self.dirty))
        )


def noting(evict: Evict) -> dict[str, object]:
    """Return the `info` that a `ChangingSession` begins with."""
    return {_PLACE: Changes(evict)}


@event.listens_for(ChangingSession, "before_flush")
def _flushing(session: ChangingSession, _context: UOWTransaction, _instances: object) -> None:
    session.changes.flushing = True


@event.listens_for(ChangingSession, "after_flush")
def _flushed(session: ChangingSession, _context: UOWTransaction) -> None:
    changes = session.changes
    changes.flushing = False
    modified = [each for each in session.dirty if session.is_modified(each)]
    for each in (*session.new, *modified, *session.deleted):
        mapper: Mapper[object] = inspect(each).mapper
        row = ",".join(str(part) for part in mapper.primary_key_from_instance(each))
        for table in mapper.tables:
            changes.tags |= {table.fullname, f"{table.fullname}:{row}"}


@event.listens_for(ChangingSession, "after_begin")
def _begun(session: ChangingSession, _transaction: SessionTransaction, connection: Connection) -> None:
    connection.info[_PLACE] = session.changes


@event.listens_for(ChangingSession, "after_commit")
def _committed(session: ChangingSession) -> None:
    if not session.in_nested_transaction():  # a savepoint that is released is not committed
        session.changes.sure = True


@event.listens_for(ChangingSession, "after_soft_rollback")
def _undone(session: ChangingSession, _transaction: SessionTransaction) -> None:
    session.changes.flushing = False  # a flush that failed has no end


@event.listens_for(ChangingSession, "after_transaction_end")
def _ended(session: ChangingSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None and (due := session.changes.take()):
        await_only(session.changes.evict(due))


def watch(engine: AsyncEngine) -> None:
    """Have what this engine carries out for sessions noted."""

    def executing(
        connection: Connection, statement: object, _multi: object, _params: object, options: Mapping[str, object]
    ) -> None:
        changes = connection.info.get(_PLACE)
        if not isinstance(changes, Changes):
            return
        declared = options.get(OPTION, ())
        named = {declared} if isinstance(declared, str) else set(declared) if isinstance(declared, Iterable) else set()
        if isinstance(statement, Insert | Update | Delete) and isinstance(statement.table, Table):
            named.add(statement.table.fullname)
            if changes.flushing:
                changes.tags |= named
                return
        elif not isinstance(statement, Select | CompoundSelect):
            changes.opaque = True
        for table in named:
            changes.tags |= {str(table), f"{table}:*"}

    def committing(connection: Connection) -> None:
        changes = connection.info.get(_PLACE)
        if isinstance(changes, Changes):
            changes.reached = True

    def checked_in(_connection: object, record: object) -> None:
        info = getattr(record, "info", None)
        if info:
            info.pop(_PLACE, None)

    event.listen(engine.sync_engine, "before_execute", executing)
    event.listen(engine.sync_engine, "commit", committing)
    event.listen(engine.sync_engine, "checkin", checked_in)
