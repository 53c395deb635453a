"""Readers go to the replica where it is fresh, unless they have just written, and never to fill what is kept."""

import pytest
from sqlalchemy import insert, select, text

from forecourt import Database
from forecourt.db import cached, session
from forecourt.db.databases import running as databases_with
from forecourt.testing import FakeClock
from tests.db.service import KEPT, Record, Tables, policies, running

LAG = "SELECT (SELECT count(*) FROM records WHERE title = 'behind')"
"""A stand-in for a lag: a second for each record of that title."""


@pytest.fixture
def replicated(sqlite: str) -> Database:
    """A primary and a replica that nothing copies to, so that one sees who answers."""
    return Database(url=sqlite, replica=sqlite + "-replica", max_lag=0, lag_query=LAG, sticky=5)


async def fill_replica(*titles: str) -> None:
    """Have the replica say these titles, from 1 on."""
    engine = databases_with("main").database("main").replicas.engine
    assert engine is not None
    async with engine.begin() as connection:
        await connection.run_sync(Tables.metadata.create_all)
        await connection.execute(text("DELETE FROM records"))
        for number, title in enumerate(titles, 1):
            await connection.execute(insert(Record).values(id=number, title=title))


async def test_a_caller_reads_the_replica_until_they_write(replicated: Database) -> None:
    """Safe methods read the replica; after a write its caller reads the primary for a while, others do not."""
    clock = FakeClock()
    async with running(policies()(databases={"main": replicated}), clock=clock) as client:
        await fill_replica("old")
        assert (await client.get("/records/1")).json() == "old"
        await client.post("/records/new")
        assert (await client.get("/records/1")).json() == "new"
        clock.advance(6)
        assert (await client.get("/records/1")).json() == "old"


async def test_a_replica_that_is_behind_or_silent_is_not_read(replicated: Database) -> None:
    """Its lag is asked once a second."""
    clock = FakeClock()
    config = policies()(databases={"main": replicated.model_copy(update={"sticky": 0})})
    async with running(config, clock=clock) as client:
        await client.post("/records/new")
        assert (await client.get("/records/1")).json() == "new", "a replica without tables does not answer"
        await fill_replica("old", "behind")
        clock.advance(2)
        assert (await client.get("/records/1")).json() == "new", "it is a second behind"
        await fill_replica("old")
        assert (await client.get("/records/1")).json() == "new", "not asked again yet"
        clock.advance(2)
        assert (await client.get("/records/1")).json() == "old"


async def test_what_is_kept_is_made_from_the_primary(replicated: Database) -> None:
    """A replica may be older than what was evicted: answers and queries that are kept come from the primary."""
    config = policies(show=KEPT)(databases={"main": replicated.model_copy(update={"sticky": 0})})
    async with running(config) as client:
        await client.post("/records/new")
        await fill_replica("old")
        assert (await client.get("/records/1")).json() == "new"
        assert (await client.get("/records")).json() == ["new"]
        async with session() as opened:
            assert await cached(opened, select(Record.title), ttl=60) == (("new",),)
