"""The public API as users' type checkers see it. mypy reads this file (`scripts/check`); it is never run.

What must be accepted stands here as a user would write it, what is inferred in an `assert_type`. What must be
refused carries a `type: ignore` with its code, which mypy calls unused as soon as the mistake is accepted.
Only public names are used: those of `forecourt` itself, and modules that the docs name.
"""

from typing import assert_type

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

import forecourt
from forecourt import (
    Encryption,
    EndpointPolicy,
    JobConfig,
    Limits,
    PayloadKeys,
    PolicyMiddleware,
    SlidingWindow,
    TokenBucket,
)
from forecourt.client import sealed_client, sealed_client_sync

assert_type(forecourt.__version__, str)
assert_type(forecourt.__all__, list[str])

bucket = TokenBucket(max_tokens=5, refill_rate=1)
window = SlidingWindow(limit=10, window=60)
config = JobConfig(
    default=EndpointPolicy(),
    endpoints={"get_record": EndpointPolicy(rate_limit=[bucket, window])},
)
assert_type(JobConfig.from_file("policies.toml"), JobConfig)

fastapi = FastAPI()
fastapi.add_middleware(PolicyMiddleware, config=config)
starlette = Starlette(middleware=[Middleware(PolicyMiddleware, config=config)])
wrapped = PolicyMiddleware(starlette, config=config)
again = PolicyMiddleware(wrapped, config=config)


async def look(limits: Limits) -> None:
    """Accept an identity as a tuple."""
    (standing,) = await limits.peek("get_record", ("client", "192.0.2.7"))
    assert_type(standing.more_in, float)
    assert_type(await limits.reset("get_record", ("client", "192.0.2.7"), "hourly"), list[str])
    (changed,) = await limits.override("get_record", {"limit": 50}, lasts=3600, identity=("client", "192.0.2.7"))
    assert_type(changed.until, int)


async def operate() -> None:
    """Accept a switch with and without an end, and a stack that follows its file."""
    switch = await config.maintenance.on("reports.*", lasts=1800, why="moved")
    assert_type(switch.until, int | None)
    assert_type(await config.maintenance.off("reports.*"), bool)
    PolicyMiddleware(starlette, config=config, watch="file")
    PolicyMiddleware(starlette, config=config, watch="files")  # type: ignore[arg-type]


TokenBucket(max_tokens=5)  # type: ignore[call-arg]  # a bucket that is never refilled is not meant
EndpointPolicy(rate_limits=bucket)  # type: ignore[call-arg]  # no such field
fastapi.add_middleware(PolicyMiddleware, configuration=config)  # type: ignore[call-arg]  # no such argument


async def sealed(own: dict[str, object]) -> None:
    """Call an endpoint whose contents are sealed."""
    async with sealed_client("https://api.example", service="service.jwk", own=own) as client:
        assert_type(await client.get("/"), httpx.Response)
    with sealed_client_sync("https://api.example", service=None, own=own, format="hpke") as blocking:
        assert_type(blocking.get("/"), httpx.Response)


Encryption(request="required", response="optional", fields=["/card/number"])
Encryption(request="always")  # type: ignore[arg-type]  # no such word
PayloadKeys(own=["env:SERVICE_JWK"], callers={"https://issuer.example": {"alice": {"kty": "OKP"}}})
