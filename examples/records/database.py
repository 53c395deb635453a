"""The records' table, and a session for each request; nothing here knows of policies."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

URL = os.environ.get("RECORDS_DATABASE", "sqlite+aiosqlite:///records.sqlite3")

engine: AsyncEngine = create_async_engine(URL, connect_args={"timeout": 10})
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Table(DeclarativeBase):
    """Where SQLAlchemy collects the tables."""


class Record(Table):
    """One record."""

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))


async def create_tables() -> None:
    """Create what is missing; three records to begin with."""
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.create_all)
    async with sessions.begin() as session:
        for number, title in enumerate(("first", "second", "third"), 1):
            if await session.get(Record, number) is None:
                session.add(Record(id=number, title=title))


async def session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
