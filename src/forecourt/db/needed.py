"""Tables of ours that a database must have before the service starts."""

from typing import NamedTuple

from forecourt.db.alchemy import AsyncEngine, Table, inspect


class NeededTable(NamedTuple):
    """A table that something in the config needs: `what` it is, and where it is found in the code."""

    database: str
    what: str
    name: str
    place: str

    @classmethod
    def of(cls, database: str, what: str, table: Table, place: str) -> "NeededTable":
        """Name a table that stands at `place`, a module and its name there."""
        return cls(database, what, table.name, place)

    def __str__(self) -> str:
        return (
            f'{self.what}: "{self.database}" has no table "{self.name}": create it by a migration, or once by'
            f" await connection.run_sync({self.place}.metadata.create_all)"
        )

    async def is_there(self, engine: AsyncEngine) -> bool:
        """Return whether the database has it."""
        async with engine.connect() as connection:
            return await connection.run_sync(lambda each: inspect(each).has_table(self.name))
