"""The service as a function of its config, so that tests make one of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from examples.service.handlers import rates, routes
from examples.service.tables import create_tables
from forecourt import JobConfig, PolicyMiddleware
from forecourt.integrations.openapi import document_policies


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Create the table before the first request."""
    await create_tables()
    yield


def service(config: JobConfig) -> FastAPI:
    """Return the service under this config."""
    app = FastAPI(title="Service", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(PolicyMiddleware, config=config)
    document_policies(app, config)
    app.include_router(routes)
    app.include_router(rates(lambda: config.upstream("rates")))
    app.mount("/health", config.health, name="health")
    app.mount("/metrics", config.metrics, name="metrics")
    app.mount("/jobs", config.jobs, name="jobs")
    app.mount("/console", config.console, name="console")
    return app
