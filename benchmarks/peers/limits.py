"""Rate limits of peers: one limit per client address, in memory or on Valkey, on FastAPI.

Every function returns an app for an allowance: `count` calls in `seconds`. Each peer keeps the defaults that its README
shows. Where a package's `redis` extra asks for an older redis-py than the others need, it runs on the one that is
installed.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import limits as limits_lib
import limits.aio.storage
import limits.aio.strategies
import redis.asyncio
import slowapi.util
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.inmemory import InMemoryBackend
from fastapi_alcazaba.backends.redis import RedisBackend
from fastapi_alcazaba.limiter import FastAPIRateLimiter
from fastapi_limiter.depends import RateLimiter
from pyrate_limiter import InMemoryBucket, Limiter, Rate, RedisBucket
from redis_fastapi import FastAPIRedis, get_settings, rate_limit
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from throttled.asyncio import store as throttled_stores
from throttled.asyncio.contrib import fastapi as throttled_fastapi

from benchmarks.apps import fastapi
from benchmarks.calls import ASGIApp


class Allowance(NamedTuple):
    """So many calls in so many seconds."""

    calls: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.calls}/{self.seconds} second"


class Peer(NamedTuple):
    """A name, how it is configured in words, and how its app is made: for an allowance and a server (None: memory)."""

    name: str
    config: str
    make: Callable[[Allowance, str | None], Awaitable[ASGIApp]]
    places: tuple[str, ...] = ("memory", "valkey")


def _slowapi(allowance: Allowance, url: str | None, *, default: bool = False, headers: bool = False) -> slowapi.Limiter:
    limits_of_all: list[Any] = [str(allowance)] if default else []
    return slowapi.Limiter(
        key_func=slowapi.util.get_remote_address,
        default_limits=limits_of_all,
        storage_uri=url or "memory://",
        headers_enabled=headers,
    )


def _slowapi_app(limiter: slowapi.Limiter, app: FastAPI) -> FastAPI:
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, slowapi._rate_limit_exceeded_handler)  # type: ignore[arg-type]  # its README
    return app


async def slowapi_decorator(allowance: Allowance, url: str | None) -> ASGIApp:
    limiter = _slowapi(allowance, url)
    return _slowapi_app(limiter, fastapi(decorate=limiter.limit(str(allowance))))


async def slowapi_asgi_headers(allowance: Allowance, url: str | None) -> ASGIApp:
    app = _slowapi_app(_slowapi(allowance, url, default=True, headers=True), fastapi())
    app.add_middleware(SlowAPIASGIMiddleware)
    return app


async def slowapi_asgi(allowance: Allowance, url: str | None) -> ASGIApp:
    app = _slowapi_app(_slowapi(allowance, url, default=True), fastapi())
    app.add_middleware(SlowAPIASGIMiddleware)
    return app


async def slowapi_base_http(allowance: Allowance, url: str | None) -> ASGIApp:
    app = _slowapi_app(_slowapi(allowance, url, default=True), fastapi())
    app.add_middleware(SlowAPIMiddleware)
    return app


def _limits(strategy: str, *, headers: bool = False) -> Callable[[Allowance, str | None], Awaitable[ASGIApp]]:
    async def make(allowance: Allowance, url: str | None) -> ASGIApp:
        if url is None:
            storage: Any = limits.aio.storage.MemoryStorage()
        else:
            storage = limits.aio.storage.RedisStorage(f"async+{url}", implementation="redispy", key_prefix=strategy)
        limiter = getattr(limits.aio.strategies, strategy)(storage)
        item = limits_lib.parse(str(allowance))

        async def limited(request: Request) -> None:
            if not await limiter.hit(item, "get_record", request.client.host if request.client else ""):
                raise HTTPException(429)

        async def told(request: Request, response: Response) -> None:
            await limited(request)
            stats = await limiter.get_window_stats(item, "get_record", request.client.host if request.client else "")
            response.headers["X-RateLimit-Limit"] = str(item.amount)
            response.headers["X-RateLimit-Remaining"] = str(stats.remaining)
            response.headers["X-RateLimit-Reset"] = str(int(stats.reset_time))

        return fastapi(dependencies=[Depends(told if headers else limited)])

    return make


async def _bucket(allowance: Allowance, url: str | None) -> Any:
    rates = [Rate(allowance.calls, allowance.seconds * 1000)]
    if url is None:
        return InMemoryBucket(rates)
    return await RedisBucket.init(rates, redis.asyncio.Redis.from_url(url), "get_record")


async def pyrate(allowance: Allowance, url: str | None) -> ASGIApp:
    limiter = Limiter(await _bucket(allowance, url))

    async def limited(request: Request) -> None:
        if not await limiter.try_acquire_async(request.client.host if request.client else "", blocking=False):
            raise HTTPException(429)

    return fastapi(dependencies=[Depends(limited)])


async def fastapi_limiter(allowance: Allowance, url: str | None) -> ASGIApp:
    limiter = RateLimiter(limiter=Limiter(await _bucket(allowance, url)))
    return fastapi(dependencies=[Depends(limiter)])


def _throttled(using: str, *, headers: bool = False) -> Callable[[Allowance, str | None], Awaitable[ASGIApp]]:
    async def make(allowance: Allowance, url: str | None) -> ASGIApp:
        if url is None:
            store: Any = throttled_stores.MemoryStore()
        else:
            store = throttled_stores.RedisStore(server=url)
        unit = {1: "s", 3600: "h"}[allowance.seconds]
        limiter = throttled_fastapi.Limiter(
            f"{allowance.calls}/{unit}", store=store, using=using, key_func=throttled_fastapi.get_remote_address
        )
        app = fastapi(decorate=limiter.limit())
        app.add_exception_handler(
            throttled_fastapi.RateLimitExceededError,
            throttled_fastapi.rate_limit_exceeded_handler,
        )
        if headers:
            app.add_middleware(throttled_fastapi.RateLimitMiddleware)
        return app

    return make


async def fastapi_redis_sdk(allowance: Allowance, url: str | None) -> ASGIApp:
    get_settings().url = url
    unit = {1: "second", 3600: "hour"}[allowance.seconds]
    app = fastapi(dependencies=[Depends(rate_limit(f"{allowance.calls}/{unit}"))])
    FastAPIRedis(app).lifespan().rate_limiting()
    return app


async def alcazaba(allowance: Allowance, url: str | None) -> ASGIApp:
    backend = RedisBackend(redis.asyncio.Redis.from_url(url)) if url else InMemoryBackend()
    app = fastapi(dependencies=[Depends(FastAPIRateLimiter(times=allowance.calls, seconds=allowance.seconds))])
    Cache(backend, prefix="bench").install(app)
    return app


PEERS = (
    Peer(
        "slowapi, decorator",
        "@limiter.limit, key get_remote_address, fixed window, no headers; synchronous client",
        slowapi_decorator,
    ),
    Peer("slowapi, ASGI", "SlowAPIASGIMiddleware with default_limits; synchronous client", slowapi_asgi),
    Peer(
        "slowapi, ASGI with headers",
        "the same with headers_enabled=True, which adds X-RateLimit fields",
        slowapi_asgi_headers,
    ),
    Peer("slowapi, BaseHTTP", "SlowAPIMiddleware with default_limits; synchronous client", slowapi_base_http),
    Peer(
        "limits, fixed window",
        "limits.aio FixedWindowRateLimiter in a Depends, no headers; redis-py",
        _limits("FixedWindowRateLimiter"),
    ),
    Peer(
        "limits, fixed window with headers",
        "the same, and X-RateLimit fields from its get_window_stats",
        _limits("FixedWindowRateLimiter", headers=True),
    ),
    Peer(
        "limits, moving window",
        "limits.aio MovingWindowRateLimiter in a Depends, no headers; redis-py",
        _limits("MovingWindowRateLimiter"),
    ),
    Peer(
        "limits, sliding window",
        "limits.aio SlidingWindowCounterRateLimiter in a Depends, no headers; redis-py",
        _limits("SlidingWindowCounterRateLimiter"),
    ),
    Peer(
        "pyrate-limiter",
        "InMemoryBucket or RedisBucket, try_acquire_async(blocking=False) in a Depends; one bucket for all callers",
        pyrate,
    ),
    Peer(
        "fastapi-limiter",
        "Depends(RateLimiter(limiter=Limiter(…))) over pyrate-limiter; one bucket for all callers",
        fastapi_limiter,
    ),
    Peer(
        "throttled-py, token bucket",
        "its FastAPI Limiter decorator, key get_remote_address, no headers",
        _throttled("token_bucket"),
    ),
    Peer("throttled-py, GCRA", "its FastAPI Limiter decorator, key get_remote_address, no headers", _throttled("gcra")),
    Peer(
        "throttled-py, GCRA with headers",
        "the same and its RateLimitMiddleware, which adds RateLimit fields",
        _throttled("gcra", headers=True),
    ),
    Peer(
        "fastapi-redis-sdk",
        "Depends(rate_limit(…)), lifespan().rate_limiting(), X-RateLimit headers",
        fastapi_redis_sdk,
        ("valkey",),
    ),
    Peer("fastapi-alcazaba", "Depends(FastAPIRateLimiter(…)), sliding window, RateLimit headers", alcazaba),
)
