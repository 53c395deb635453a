"""Cancellations under load: no connection of a database's pool is ever lost."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from forecourt import Database
from forecourt.db.databases import running as databases_with
from tests.db.service import policies, running
from tests.postgres import Postgres, binaries
from tests.soak.results import Result


def cancelled_sessions(calls: int = 100_000) -> Iterator[Result]:
    """Calls that are cancelled at any moment give their connections back, on SQLite and on PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder, 'soak.sqlite3')}"
        yield asyncio.run(_cancelled("SQLite", url, calls))
    if binaries() is None:
        return
    with Postgres() as server:
        yield asyncio.run(_cancelled("PostgreSQL", server.url, calls))


async def _cancelled(name: str, url: str, calls: int) -> Result:
    config = policies()(databases={"main": Database(url=url, pool=5, pool_timeout=30)})
    async with running(config) as calling:
        await calling.post("/records/first")

        async def call(number: int) -> None:
            task = asyncio.create_task(calling.get("/records/1"))
            await asyncio.sleep((number % 40) * 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for begun in range(0, calls, 20):
            await asyncio.gather(*(call(number) for number in range(begun, begun + 20)))
        last = await calling.get("/records/1")
        pool = databases_with("main").database("main").primary.pool
        out = getattr(pool, "checkedout")()  # noqa: B009  # only some pools have it
    good = last.status_code == 200 and out == 0
    return Result(f"cancelled calls on {name}", f"{calls} calls", f"{out} connections not given back", good)
