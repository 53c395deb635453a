"""A service on a database, under the stack, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import httpx2
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import ForeignKey, String, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.db import cached, session
from forecourt.types import ASGIApp, Clock, Message

Session = Annotated[AsyncSession, Depends(session)]


class Tables(DeclarativeBase):
    """Where SQLAlchemy collects the tables."""


class Record(Tables):
    """A record with a title of its own."""

    __tablename__ = "records"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(100), unique=True)


class Note(Tables):
    """A note on a record."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id"))


KEPT = EndpointPolicy(cache=Cache(ttl=60, tags={"records:{record_id}"}, partition="everyone"))
"""A record's answer is kept until the record changes."""


def service(config: JobConfig, *, clock: Clock | None = None) -> FastAPI:
    """Build the service: plain handlers, which import nothing of forecourt but `db`."""
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config, clock=clock)

    @app.get("/records")
    async def titles(session: Session) -> list[object]:
        rows = await cached(session, select(Record.title).order_by(Record.id), ttl=60)
        return [row[0] for row in rows]

    @app.get("/records/{record_id}")
    async def show(record_id: int, session: Session) -> str:
        record = await session.get(Record, record_id)
        if record is None:
            raise HTTPException(404)
        return record.title

    @app.post("/records/{title}", status_code=201)
    async def make(title: str, session: Session, status: int = 201, *, breaks: bool = False) -> int:
        record = Record(title=title)
        session.add(record)
        await session.flush()
        if breaks:
            raise RuntimeError("the handler's own fault")
        if status >= 400:
            raise HTTPException(status)
        return record.id

    @app.post("/late/{title}", status_code=201)
    async def make_unflushed(title: str, session: Session) -> str:
        session.add(Record(title=title))
        return "made"

    @app.put("/records/{record_id}/{title}")
    async def rename(record_id: int, title: str, session: Session) -> None:
        record = await session.get_one(Record, record_id)
        record.title = title

    @app.put("/records")
    async def rename_all(session: Session) -> None:
        await session.execute(update(Record).values(title=Record.title + "!"))

    @app.put("/text")
    async def rename_by_text(session: Session) -> None:
        statement = text("UPDATE records SET title = title || '?'")
        await session.execute(statement, execution_options={"changes": {"records"}})

    @app.post("/notes/{record_id}", status_code=201)
    async def note(record_id: int, session: Session) -> None:
        session.add(Note(record_id=record_id))

    @app.get("/often/{times}")
    async def often(times: int, session: Session) -> None:
        for _ in range(times):
            await session.execute(text("SELECT 1"))

    return app


async def create_tables() -> None:
    """Begin with empty tables."""
    async with session() as opened:
        connection = await opened.connection()
        await connection.run_sync(Tables.metadata.drop_all)
        await connection.run_sync(Tables.metadata.create_all)


@asynccontextmanager
async def running(
    config: JobConfig, *, clock: Clock | None = None, fresh: bool = True
) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the service from its startup to its shutdown, with empty tables where `fresh`."""
    app = service(config, clock=clock)
    async with lived(app), client(app) as calling:
        if fresh:
            await create_tables()
        yield calling


@asynccontextmanager
async def lived(app: ASGIApp) -> AsyncIterator[None]:
    """Go through an app's lifespan, as a server does."""
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    await received.put({"type": "lifespan.startup"})
    task = asyncio.ensure_future(_passed(app, received, sent))
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await received.put({"type": "lifespan.shutdown"})
        assert (await sent.get())["type"] == "lifespan.shutdown.complete"
        await task


async def _passed(app: ASGIApp, received: asyncio.Queue[Message], sent: asyncio.Queue[Message]) -> None:
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, received.get, sent.put)


def client(app: FastAPI) -> httpx2.AsyncClient:
    """Return a client that calls the app in this process; what a handler raises becomes its 500."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://service.test")


def policies(**endpoints: EndpointPolicy) -> Callable[..., JobConfig]:
    """Return what makes a config with these policies, and metrics, tracing and logs off."""
    quiet = EndpointPolicy(metrics="off", tracing="off", logging="off")

    def made(**fields: object) -> JobConfig:
        return JobConfig(default=quiet, endpoints=endpoints, **fields)  # type: ignore[arg-type]  # as they are named

    return made
