"""Idempotency records in the handler's own transaction: the work and its record are committed together, or neither.

`Idempotency(database="main", on_unknown="retry")` turns it on. The table is `records`; a migration creates it, or

    await connection.run_sync(records.metadata.create_all)

    claimed   the table is asked: an answer that is there is given, and nothing runs
    at work   the answer is held until it is whole, or too large to be kept
    ended     below 400: the record is written, the transaction committed, and the answer sent

The claim in the store keeps others away while the handler works; the table's primary key decides when that is not
enough. Where a process dies between commit and completion, where the store has lost the claim, and where two hold it
because one was thought dead, a second transaction of one key cannot commit: it is rolled back, and the first one's
answer is given.

Only the handler's `session` of that database takes part, and only where it was used: blocks of `async with session()`
are transactions of their own.
"""

import logging

from forecourt.core.stored_response import decode
from forecourt.db.alchemy import (
    BigInteger,
    Column,
    DBAPIError,
    IntegrityError,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)
from forecourt.db.needed import NeededTable
from forecourt.db.opened import given_back
from forecourt.db.visits import Visit
from forecourt.layers.idempotency_answers import REUSED, UNKNOWN, UNPREPARED, Replay
from forecourt.layers.idempotency_transaction import Transaction
from forecourt.layers.idempotency_work import Recorder
from forecourt.types import ASGIApp

logger = logging.getLogger("forecourt")

records = Table(
    "forecourt_idempotency",
    MetaData(),
    Column("key", String(128), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("ends", BigInteger, nullable=False, index=True),
)
"""One row for each call carried out; `ends` in µs since the epoch, after which it may be deleted."""


_UNDEFINED_TABLE = "42P01"


def needed(database: str) -> NeededTable:
    """Return what a database needs for records."""
    return NeededTable.of(database, "idempotency.database", records, "forecourt.db.idempotency.records")


def _is_missing(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state == _UNDEFINED_TABLE or "no such table" in str(error.orig)


class TakenError(Exception):
    """Another transaction has committed the record of this key."""


class Once:
    """The record of one call in the table."""

    __slots__ = ("_ended", "_transaction", "_visit", "recorder")

    def __init__(self, visit: Visit, transaction: Transaction) -> None:
        self._visit = visit
        self._transaction = transaction
        self._ended = False
        self.recorder = Recorder(transaction.most)

    @property
    def enough(self) -> bool:
        """Whether of the answer all has come that is kept."""
        return self.recorder.finished or not self.recorder.whole

    async def kept(self) -> ASGIApp | None:
        """Return what answers from the table: the answer, or a refusal to another payload. None: carry it out."""
        key = records.c.key == self._transaction.key
        session = self._visit.databases.session(self._transaction.database)
        try:
            row = (await session.execute(select(records).where(key))).first()
        except DBAPIError as error:
            if not _is_missing(error):
                raise
            logger.error("%s", needed(self._transaction.database))  # where it is is no matter
            return self._visit.exchange.refuse(UNPREPARED)
        finally:
            await given_back([session])
        if row is None:
            return None
        exchange, request = self._visit.exchange, self._transaction.request
        self._ended = row.ends <= exchange.runtime.clock.now()
        if self._ended:
            return None
        await request.rest()
        if row.fingerprint and request.fingerprint != row.fingerprint:
            return exchange.refuse(REUSED)
        try:
            answer = decode(self._transaction.plain(row.answer))
        except ValueError:
            return exchange.refuse(UNKNOWN)
        exchange.decided("idempotency", "replayed")
        return Replay(answer)

    async def write(self) -> None:
        """Add the record to the handler's transaction; TakenError where another has committed one meanwhile."""
        session = self._visit.sessions.get((self._transaction.database, True))
        if session is None or not session.in_transaction():
            return
        request = self._transaction.request
        if self.recorder.finished and not request.gone:
            await request.rest()
        await session.flush()
        if self._ended:
            now = self._visit.exchange.runtime.clock.now()
            ended = (records.c.key == self._transaction.key) & (records.c.ends <= now)
            await session.execute(delete(records).where(ended))
        try:
            await session.execute(insert(records).values(**self._row(request.fingerprint)))
        except IntegrityError:
            raise TakenError from None

    def _row(self, fingerprint: bytes) -> dict[str, object]:
        transaction = self._transaction
        return {
            "key": transaction.key,
            "fingerprint": fingerprint,
            "answer": transaction.encoded(self.recorder),
            "ends": self._visit.exchange.runtime.clock.now() + transaction.ttl,
        }
