"""The service: a few endpoints under policies, and the metrics of all of them at /metrics.

`uvicorn examples.observability.app:app`; `STORE_URL` says where limits live, in this process unless set.
"""

import os

from fastapi import FastAPI, HTTPException

from forecourt import (
    Accounts,
    Concurrency,
    Credits,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    PolicyMiddleware,
    Quota,
    TokenBucket,
)

config = JobConfig(
    default=EndpointPolicy(rate_limit=TokenBucket(max_tokens=100, refill_rate=50)),
    endpoints={
        "quote": EndpointPolicy(rate_limit=FixedWindow(limit=10, window=10), concurrency=Concurrency(limit=20)),
        "report": EndpointPolicy(credits=Credits(amount=5)),
        "metrics": EndpointPolicy(rate_limit=TokenBucket(max_tokens=10, refill_rate=1), logging="off", tracing="off"),
    },
    accounts=Accounts(quota=Quota(amount=100, every="day")),
    store=os.environ.get("STORE_URL", "memory://"),
)

app = FastAPI(title="Watched")
app.add_middleware(PolicyMiddleware, config=config)
app.mount("/metrics", config.metrics, name="metrics")


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
