"""Jobs have sessions as calls have: committed with the job's answer, rolled back with its failure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import select

from forecourt import EndpointPolicy, JobConfig, Offload, PolicyMiddleware
from forecourt.db import cached
from forecourt.db import session as sessions
from forecourt.policies.database import Database
from tests.db.service import Record, Session, client, create_tables, lived


def service(database: str) -> FastAPI:
    """Build a service that makes records by jobs."""
    quiet = EndpointPolicy(metrics="off", tracing="off", logging="off")
    policies = {"make": EndpointPolicy(offload=Offload(max_attempts=1))}
    config = JobConfig(default=quiet, endpoints=policies, databases={"main": Database(url=database)})
    app = FastAPI()
    app.add_middleware(PolicyMiddleware, config=config)

    @app.post("/records/{title}")
    async def make(title: str, session: Session, *, status: int = 200, breaks: bool = False) -> int:
        record = Record(title=title)
        session.add(record)
        await session.flush()
        if breaks:
            raise RuntimeError("the handler's own fault")
        if status >= 400:
            raise HTTPException(status)
        return record.id

    app.mount("/jobs", config.jobs)
    return app


@asynccontextmanager
async def running(database: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the service, with empty tables."""
    app = service(database)
    async with lived(app), client(app) as calling:
        await create_tables()
        yield calling


async def done(calling: httpx2.AsyncClient, path: str) -> httpx2.Response:
    """Publish a job, and return its status when it has ended."""
    answer = await calling.post(path)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(20):
        while True:
            shown = await calling.get(answer.headers["location"])
            if shown.json().get("status") not in ("queued", "running"):
                return shown
            await asyncio.sleep(0.01)


async def titles() -> list[object]:
    """Return what is in the table, through the cache."""
    async with sessions() as opened:
        return [row[0] for row in await cached(opened, select(Record.title).order_by(Record.id), ttl=60)]


async def test_a_job_commits_what_it_did_and_evicts(database: str) -> None:
    """By the time its caller is told that it has succeeded, everybody sees the row."""
    async with running(database) as calling:
        assert await titles() == []
        shown = await done(calling, "/records/first")
        assert shown.json()["status"] == "succeeded", shown.text
        assert await titles() == ["first"]


@pytest.mark.parametrize("how", ["?status=418", "?breaks=true"])
async def test_a_job_that_fails_leaves_nothing(database: str, how: str) -> None:
    """An answer of 400 or more, and an exception, roll back."""
    async with running(database) as calling:
        await done(calling, f"/records/first{how}")
        assert await titles() == []


async def test_a_job_whose_row_is_there_is_told_so(database: str) -> None:
    """What the database refuses becomes the job's answer, a 409, and no words of the database's own."""
    async with running(database) as calling:
        await done(calling, "/records/first")
        shown = await done(calling, "/records/first")
        assert "IntegrityError" not in shown.text
        assert "UNIQUE" not in shown.text.upper().replace("UNIQUE-VIOLATION", "")
        assert await titles() == ["first"]
