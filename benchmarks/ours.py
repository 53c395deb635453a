"""Our own side: an app with the stack in front, as the README shows it."""

import os
from collections.abc import Sequence
from typing import Any

from benchmarks.apps import fastapi
from benchmarks.calls import ASGIApp
from forecourt import EndpointPolicy, JobConfig, PolicyMiddleware, TokenBucket

MEMORY = "memory://"
NEVER_FULL = 1_000_000


def config(limits: Sequence[Any] | Any = None, store: str | None = None, **fields: Any) -> JobConfig:
    """Return a config with these limits for every endpoint."""
    return settings(EndpointPolicy(rate_limit=limits), store, **fields)


def settings(default: EndpointPolicy, store: str | None = None, **fields: Any) -> JobConfig:
    """Return a config; without a store, in memory. Lines go to nowhere, in JSON, as the peers' do."""
    fields.setdefault("telemetry", {"log_to": os.devnull, "log_format": "json"})
    return JobConfig(default=default, store=store or MEMORY, **fields)


def admitting(number: int = 1) -> list[TokenBucket]:
    """Return so many token buckets that never run out."""
    keys = ("principal", "endpoint", "client")
    return [
        TokenBucket(max_tokens=NEVER_FULL, refill_rate=NEVER_FULL, key=keys[at], name=f"limit{at}")
        for at in range(number)
    ]


def refusing() -> TokenBucket:
    """Return a bucket that lets one call an hour through."""
    return TokenBucket(max_tokens=1, refill_rate=1 / 3600)


def protected(settings: JobConfig, app: Any = None, layers: Sequence[str] | None = None) -> ASGIApp:
    """Return an app (default: FastAPI with one route) with the whole stack installed, or these layers of it."""
    app = app or fastapi()
    if hasattr(app, "add_middleware"):
        app.add_middleware(PolicyMiddleware, config=settings, layers=layers)
    else:
        app = PolicyMiddleware(app, config=settings, layers=layers)
    protected_app: ASGIApp = app
    return protected_app
