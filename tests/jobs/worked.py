"""An app whose handler is a job, for the worker's command."""

import asyncio
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from forecourt import EndpointPolicy, JobConfig, Offload, PolicyMiddleware

config = JobConfig(
    default=EndpointPolicy(),
    endpoints={"work": EndpointPolicy(offload=Offload(lease=1))},
    keys=["env:REPORTS_KEY"],
)


async def work(request: Request) -> Response:
    """Block the process, or sleep, for as long as asked."""
    time.sleep(float(request.query_params.get("block", "0")))
    await asyncio.sleep(float(request.query_params.get("sleep", "0")))
    return PlainTextResponse(await request.body())


app = Starlette(routes=[Route("/work", work, methods=["POST"], name="work"), Mount("/jobs", config.jobs, name="jobs")])
app.add_middleware(PolicyMiddleware, config=config)
