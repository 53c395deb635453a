"""Sessions and kept queries, beside plain SQLAlchemy and cashews on the same query of the same SQLite file."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from cashews import Cache
from fastapi import Depends, FastAPI
from sqlalchemy import Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks import ours
from benchmarks.bench import Bench
from benchmarks.calls import Call
from benchmarks.harness import Variant
from benchmarks.results import Table
from forecourt import EndpointPolicy
from forecourt.db import cached, session

TITLE = "Databases"
ABOUT = (
    "One FastAPI route that reads 20 rows of a SQLite file by one statement: through SQLAlchemy's own session, and "
    "through forecourt's; then the same rows kept, by cashews in memory and by `cached`. No policy but the session."
)
FLOOR = "SQLAlchemy alone"


class _Tables(DeclarativeBase):
    pass


class _Record(_Tables):
    __tablename__ = "records"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    title: Mapped[str] = mapped_column(String(40))


_QUERY = select(_Record.id, _Record.title).order_by(_Record.id)


async def run(bench: Bench) -> list[Table]:
    """Measure the table."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder, 'bench.sqlite3')}"
        await _fill(url)
        engine = create_async_engine(url)
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        variants = [
            _variant(FLOOR, _plain(sessions), "async_sessionmaker, Depends with yield", "base"),
            _variant("forecourt, session", _ours(url, kept=False), "Depends(session)", "ours"),
            _variant("cashews, kept", _cashews(sessions), 'Cache("mem://"), @cache(ttl="5m")', "peer"),
            _variant("forecourt, cached", _ours(url, kept=True), "await cached(session, …, ttl=300)", "ours"),
        ]
        rows = await bench.measure("databases", variants)
        await engine.dispose()
    return [Table("db", "Databases", rows, floor=FLOOR)]


def _variant(name: str, app: Any, config: str, side: Any) -> Variant:
    return Variant(name, app, call=Call(path="/records"), config=config, side=side)


async def _fill(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(_Tables.metadata.create_all)
    async with AsyncSession(engine) as opened, opened.begin():
        opened.add_all(_Record(title=f"record {number}") for number in range(20))
    await engine.dispose()


def _plain(sessions: Any) -> Any:
    app = FastAPI()

    async def opened() -> Any:
        async with sessions() as each:
            yield each

    @app.get("/records")
    async def records(own: Annotated[AsyncSession, Depends(opened)]) -> list[list[Any]]:
        return [list(row) for row in await own.execute(_QUERY)]

    return app


def _cashews(sessions: Any) -> Any:
    app, cache = FastAPI(), Cache()
    cache.setup("mem://")

    @cache(ttl="5m", key="records")
    async def rows() -> list[list[Any]]:
        async with sessions() as own:
            return [list(row) for row in await own.execute(_QUERY)]

    @app.get("/records")
    async def records() -> list[list[Any]]:
        return await rows()

    return app


def _ours(url: str, *, kept: bool) -> Any:
    app = FastAPI()

    @app.get("/records")
    async def records(own: Annotated[AsyncSession, Depends(session)]) -> list[list[Any]]:
        rows = await cached(own, _QUERY, ttl=300) if kept else await own.execute(_QUERY)
        return [list(row) for row in rows]

    return ours.protected(ours.settings(EndpointPolicy(), databases={"main": url}), app, layers=())
