"""Readers of a real standby: PostgreSQL's own streaming replication, held up, broken off and caught up."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from forecourt import Database, JobConfig
from forecourt.db.databases import Databases
from forecourt.db.databases import running as databases_with
from forecourt.testing import FakeClock
from tests.db.service import client, create_tables, lived, policies, service
from tests.postgres import Postgres

pytestmark = pytest.mark.slow


@pytest.fixture
def standby(postgres: Postgres) -> Iterator[Postgres]:
    """A standby of the server that tests share."""
    with Postgres(postgres) as server:
        yield server


async def on_replica(databases: Databases, statement: str, name: str = "main") -> object:
    """Return what a statement says on the standby."""
    engine = databases.database(name).replicas.engine
    assert engine is not None
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).scalar()


async def caught_up(databases: Databases, title: str) -> None:
    """Return when the standby has the title, and so the table."""
    async with asyncio.timeout(20):
        while True:
            with suppress(ProgrammingError):  # there is no table yet
                if await on_replica(databases, f"SELECT count(*) FROM records WHERE title = '{title}'") == 1:
                    return
            await asyncio.sleep(0.01)


async def test_readers_of_a_standby(postgres: Postgres, standby: Postgres) -> None:
    """It is read while it is as fresh as a policy asks; who wrote, and who asks for more, reads the primary."""
    clock = FakeClock()

    def config(max_lag: float) -> JobConfig:
        database = Database(url=postgres.url, replica=standby.url, max_lag=max_lag, retry="off")
        return policies()(databases={"main": database})

    async def shown(calling: httpx2.AsyncClient) -> object:
        clock.advance(6)  # no longer sticky, and the lag is asked for anew
        return (await calling.get("/records/1")).json()

    lenient, strict = service(config(3600), clock=clock), service(config(0.001), clock=clock)
    async with lived(lenient), client(lenient) as calling:
        await create_tables()
        databases = databases_with("main")
        await calling.post("/records/first")
        await caught_up(databases, "first")
        await on_replica(databases, "SELECT pg_wal_replay_pause()")
        assert (await calling.put("/records/1/second")).status_code == 200
        assert (await calling.get("/records/1")).json() == "second", "who wrote reads the primary"
        assert await shown(calling) == "first", "the standby, which is behind, and may be"
        async with lived(strict), client(strict) as exacting:
            assert await shown(exacting) == "second", "it is too far behind for this policy"
            await on_replica(databases, "SELECT pg_wal_replay_resume()")
            await caught_up(databases, "second")
            assert [await shown(calling), await shown(exacting)] == ["second", "second"]
            standby.stop()
            assert [await shown(calling), await shown(exacting)] == ["second", "second"], "the primary alone"
