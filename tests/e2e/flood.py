"""One of several processes that call at once: prints how many of its calls passed.

python -m tests.e2e.flood STORE CALLS START     START: the instant to begin at, in seconds since the epoch
"""

import asyncio
import sys
import time

from starlette.routing import Route

from forecourt import EndpointPolicy, JobConfig, TokenBucket
from tests.asgi import get
from tests.services import starlette, text


async def main(store: str, calls: int, start: float) -> None:
    """Call so often at once, and print how many passed."""
    limit = TokenBucket(max_tokens=10, refill_rate=0.001, on_store_error="closed")
    app = starlette(JobConfig(default=EndpointPolicy(rate_limit=limit), store=store), Route("/", text, name="t"))
    await get(app, "/", client="203.0.113.1")
    await asyncio.sleep(start - time.time())
    answers = await asyncio.gather(*(get(app, "/") for _ in range(calls)))
    passed, *others = [[answer.status for answer in answers].count(status) for status in (200, 429, 503)]
    print(passed, *others)  # noqa: T201  # the parent reads it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
