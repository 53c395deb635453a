"""An audit trail in a table of one of the config's databases.

`JobConfig(audit_log=AuditTable("main"), databases={"main": …})`. Lines are inserted in a transaction of their own: a
record that something was begun stays, whatever becomes of the handler's transaction. The table is `lines`, made by a
migration or once by `await connection.run_sync(lines.metadata.create_all)`; a service whose database has none does not
start.
"""

from collections.abc import Sequence

from forecourt.db.alchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert, select
from forecourt.db.databases import running
from forecourt.db.needed import NeededTable
from forecourt.policies.database import MAIN

lines = Table(
    "forecourt_audit",
    MetaData(),
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("line", Text, nullable=False),
)
"""A row for each line of the trail, numbered in the order that they were kept in."""


class AuditTable:
    """Appends to the table `forecourt_audit` of a database that the config names."""

    def __init__(self, database: str = MAIN) -> None:
        self._database = database
        self.needed = NeededTable.of(database, "audit_log", lines, "forecourt.db.audit_table.lines")
        """Looked for when the service starts."""

    def __repr__(self) -> str:
        return f"<AuditTable {self._database}>"

    async def keep(self, given: Sequence[bytes]) -> None:
        """Insert these lines, in order, and commit."""
        rows = [{"line": line.decode()} for line in given]
        async with running(self._database).database(self._database).primary.begin() as connection:
            await connection.execute(insert(lines), rows)

    async def read(self) -> list[bytes]:
        """Return all lines, in the order that they were kept in."""
        async with running(self._database).database(self._database).primary.connect() as connection:
            found = await connection.execute(select(lines.c.line).order_by(lines.c.number))
            return [line.encode() for line in found.scalars()]
