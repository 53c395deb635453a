"""The records' table; nothing here knows of policies."""

from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from forecourt.db import session


class Table(DeclarativeBase):
    """Where SQLAlchemy collects the tables."""


class Record(Table):
    """One record."""

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))


async def create_tables() -> None:
    """Create what is missing; three records to begin with."""
    async with session() as opened:
        await fill(opened)


async def fill(opened: AsyncSession) -> None:
    """Create what is missing in an open session."""
    connection = await opened.connection()
    await connection.run_sync(Table.metadata.create_all)
    if (await opened.scalars(select(Record.id).limit(1))).first() is None:
        opened.add_all(Record(title=title) for title in ("first", "second", "third"))
