"""An audit trail in a table: committed by itself, whatever the handler's transaction does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from forecourt import Audit, ConfigError, EndpointPolicy, JobConfig, PolicyMiddleware
from forecourt.db import AuditTable, session
from forecourt.db.audit_table import lines
from forecourt.policies.database import Database
from forecourt.types import Message
from tests.db.service import Record, Session, Tables, client, lived
from tests.layers.test_audit import KEY, wrong


class Service:
    """A service that makes records, and writes down that it does; `prepared`: its start makes the table."""

    def __init__(self, database: str, *, prepared: bool = True) -> None:
        self.prepared = prepared
        self.trail = AuditTable()
        self.read: list[bytes] = []
        self.config = JobConfig(
            default=EndpointPolicy(metrics="off", tracing="off", logging="off", audit=Audit()),
            databases={"main": Database(url=database)},
            keys=[KEY],
            audit_log=self.trail,
        )
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.add_middleware(PolicyMiddleware, config=self.config)

        @self.app.post("/records/{title}", status_code=201)
        async def make(title: str, session: Session) -> None:
            session.add(Record(title=title))
            await session.flush()
            if title == "bad":
                raise RuntimeError("the handler's own fault")

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with session() as opened:
            connection = await opened.connection()
            for metadata in (Tables.metadata, lines.metadata):
                await connection.run_sync(metadata.drop_all)
            await connection.run_sync(Tables.metadata.create_all)
            if self.prepared:
                await connection.run_sync(lines.metadata.create_all)
        yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Run it from its start to its end."""
        async with lived(self.app), client(self.app) as calling:
            yield calling


async def test_what_was_rolled_back_was_written_down(database: str) -> None:
    """The record is not there, and the trail says who tried and what became of it."""
    service = Service(database)
    async with service.running() as calling:
        assert (await calling.post("/records/good")).status_code == 201
        assert (await calling.post("/records/bad")).status_code == 500
        trail = await service.trail.read()
    told = [json.loads(line) for line in trail]
    assert [(each["event"], each.get("outcome")) for each in told] == [
        ("opened", None),
        ("begun", None),
        ("ended", "ok"),
        ("begun", None),
        ("ended", "failed"),
    ]
    (open_still,) = wrong(trail)
    assert open_still.endswith("which has no end: it was cut off, or is still written")


async def test_the_last_line_is_written_before_the_database_closes(database: str) -> None:
    """At its end the chain is closed; another service, on the same tables, finds it whole."""
    service, reader = Service(database), Service(database)
    async with service.running() as calling:
        await calling.post("/records/good")
    reader.app.router.lifespan_context = _idle
    async with lived(reader.app):
        trail = await reader.trail.read()
    assert (json.loads(trail[-1])["event"], wrong(trail)) == ("closed", [])
    assert repr(reader.trail) == "<AuditTable main>"


@asynccontextmanager
async def _idle(_: FastAPI) -> AsyncIterator[None]:
    yield


async def test_a_database_without_the_table_is_told_at_the_start(database: str) -> None:
    """The error names the database, the table and the fix."""
    service = Service(database, prepared=False)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        assert message["type"] == "lifespan.startup.failed"

    with pytest.raises(ConfigError, match=r'audit_log: "main" has no table "forecourt_audit": .*audit_table\.lines'):
        await service.app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
