"""The service: a few endpoints under policies, and the metrics of all of them at /metrics.

`uvicorn examples.observability.app:app`; `STORE_URL` says where limits live, in this process unless set, and
`DATABASE_URL` which database is asked.
"""

import os
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from forecourt import (
    Accounts,
    CircuitBreaker,
    Concurrency,
    Credits,
    Database,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    Offload,
    PolicyMiddleware,
    Quota,
    Retry,
    TokenBucket,
)
from forecourt.db import session

_SQLITE = f"sqlite+aiosqlite:///{Path(tempfile.gettempdir(), 'watched.sqlite3')}"

config = JobConfig(
    default=EndpointPolicy(rate_limit=TokenBucket(max_tokens=100, refill_rate=50)),
    endpoints={
        "quote": EndpointPolicy(rate_limit=FixedWindow(limit=10, window=10), concurrency=Concurrency(limit=20)),
        "report": EndpointPolicy(credits=Credits(amount=5)),
        "flaky": EndpointPolicy(
            circuit_breaker=CircuitBreaker(fail_max=5, reset_timeout=5),
            retry=Retry(max_attempts=2, backoff=0.01, budget=0.1),
        ),
        "digest": EndpointPolicy(offload=Offload()),
        "metrics": EndpointPolicy(rate_limit=TokenBucket(max_tokens=10, refill_rate=1), logging="off", tracing="off"),
    },
    accounts=Accounts(quota=Quota(amount=100, every="day")),
    store=os.environ.get("STORE_URL", "memory://"),
    databases={"main": Database(url=os.environ.get("DATABASE_URL", _SQLITE))},
    queues={"default": "memory://"},
)

app = FastAPI(title="Watched")
app.add_middleware(PolicyMiddleware, config=config)
app.mount("/metrics", config.metrics, name="metrics")
app.mount("/jobs", config.jobs, name="jobs")


@app.get("/quotes/{symbol}")
async def quote(symbol: str) -> dict[str, str]:
    """Answer, often."""
    return {"symbol": symbol}


@app.post("/reports")
async def report() -> dict[str, str]:
    """Answer, for credits."""
    return {"report": "made"}


@app.get("/flaky")
async def flaky() -> None:
    """Answer 503, as a handler does whose upstream is gone."""
    raise HTTPException(503)


@app.get("/records/{record_id}")
async def record(record_id: int, session: Annotated[AsyncSession, Depends(session)]) -> dict[str, int | None]:
    """Ask the database."""
    return {"id": await session.scalar(select(literal(record_id)))}


@app.post("/digests")
async def digest() -> dict[str, str]:
    """Answer as a job."""
    return {"digest": "made"}
