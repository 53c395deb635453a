"""The service: its handlers, and the policies that stand around them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from examples.records.database import create_tables
from examples.records.handlers import others, records
from forecourt import Database, JobConfig, PolicyMiddleware
from forecourt.integrations.openapi import document_policies

URL = os.environ.get("RECORDS_DATABASE", "sqlite+aiosqlite:///records.sqlite3")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Create the table before the first request."""
    await create_tables()
    yield


app = FastAPI(title="Records", lifespan=lifespan)
config = JobConfig.from_file(
    Path(__file__).with_name("policies.toml"), databases={"main": Database(url=URL, pool_timeout=10)}
)
app.add_middleware(PolicyMiddleware, config=config)
document_policies(app, config)
app.include_router(records)
app.include_router(others)
