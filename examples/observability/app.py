"""The service: a few endpoints under policies, and the metrics of all of them at /metrics.

`uvicorn examples.observability.app:app`; `STORE_URL` says where limits live, in this process unless set, and
`DATABASE_URL` which database is asked.
"""

import os
import tempfile
from pathlib import Path

from fastapi import FastAPI

from examples.observability.handlers import routes
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
app.include_router(routes)
app.mount("/metrics", config.metrics, name="metrics")
app.mount("/jobs", config.jobs, name="jobs")
