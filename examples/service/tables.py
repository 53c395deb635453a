"""The service's one table; nothing here knows of policies."""

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from forecourt.db import session


class Table(DeclarativeBase):
    """Where SQLAlchemy collects the tables."""


class Record(Table):
    """One record of a tenant."""

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(50), index=True)
    title: Mapped[str] = mapped_column(String(200))


async def create_tables() -> None:
    """Create what is missing."""
    async with session() as opened:
        connection = await opened.connection()
        await connection.run_sync(Table.metadata.create_all)
