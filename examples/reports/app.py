"""The reports service: its handlers, the policies around them, and where its jobs are looked at."""

from pathlib import Path

from fastapi import FastAPI

from examples.reports.handlers import routes
from forecourt import JobConfig, PolicyMiddleware

config = JobConfig.from_file(Path(__file__).with_name("policies.toml"))
app = FastAPI(title="Reports")
app.add_middleware(PolicyMiddleware, config=config)
app.include_router(routes)
app.mount("/jobs", config.jobs, name="jobs")
