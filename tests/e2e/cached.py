"""A process that asks one cached endpoint: `python -m tests.e2e.cached URL CALLS START SECONDS`.

At the instant START it makes so many calls at once; its handler takes SECONDS, says so on a line ("run PID") when it
begins, and at the end how many calls were answered ("answered N").
"""

import asyncio
import os
import sys
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import Cache, EndpointPolicy, JobConfig, PolicyMiddleware
from tests.asgi import get


async def main(url: str, calls: int, start: float, seconds: float) -> None:
    """Call, and say what happened."""

    async def read(_: Request) -> Response:
        os.write(1, f"run {os.getpid()}\n".encode())
        await asyncio.sleep(seconds)
        return PlainTextResponse("read")

    config = JobConfig(store=url, endpoints={"read": EndpointPolicy(cache=Cache(ttl=60))})
    app = PolicyMiddleware(Starlette(routes=[Route("/", read, name="read")]), config=config)
    await app._runtime.open()
    await asyncio.sleep(start - time.time())
    answers = await asyncio.gather(*[get(app, "/") for _ in range(calls)])
    os.write(1, f"answered {sum(answer.body == b'read' for answer in answers)}\n".encode())
    await app._stop({})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
